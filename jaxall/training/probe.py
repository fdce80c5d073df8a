"""The largest batch that fits: XLA says what a step needs once it is compiled, before it runs.

Memory is very nearly a line in the batch: two small batches give the line, and where it meets the
limit further compilations confirm it, or move it.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxall.training import steps

FIRST = 8  # pictures of a device's part in the first compilation; twice that in the second
FAR = 8  # times as large as any before a batch may be: below, parameters may hide the slope
COMPILATIONS = 8
CLOSE = 1.03  # a batch not this much larger is not worth another compilation
SHARE = 0.9  # of what is there: batches wait in line, and memory is never without gaps
_CGROUP = pathlib.Path("/sys/fs/cgroup")
_UNBOUNDED = 1 << 60  # what the kernel writes where there is no limit is larger


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A compiled step.

    Attributes:
        batch_size: pictures on all devices.
        needed: bytes on each device; None where the compiler itself says that it is too much.
    """

    batch_size: int
    needed: int | None

    def fits(self, limit: int) -> bool:
        """Whether no more than `limit` bytes are needed."""
        return self.needed is not None and self.needed <= limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What was measured, in that order.

    Attributes:
        limit: bytes that a step may take on each device.
    """

    limit: int
    measured: tuple[Measured, ...]

    @property
    def largest(self) -> int:
        """The largest batch that fits; 0 if none does."""
        return max((x.batch_size for x in self.measured if x.fits(self.limit)), default=0)


def search(
    needed: Callable[[int], int | None],
    limit: int,
    *,
    unit: int,
    most: int,
    progress: Callable[[Measured], None] = lambda measured: None,
) -> Found:
    """Looks for the largest multiple of `unit`, at most `most`, that needs no more than `limit`.

    Args:
        needed: as in `Measured`, of a batch size; compiles, so it is asked few times.
        limit: bytes that are there.
        unit: what the batch size must be a multiple of.
        most: no larger batch is of use.
        progress: told of each size once it has been measured.
    """
    measured: list[Measured] = []
    units: int | None = min(FIRST, max(1, most // unit))
    while units is not None and len(measured) < COMPILATIONS:
        measured.append(Measured(batch_size=units * unit, needed=needed(units * unit)))
        progress(measured[-1])
        units = _next(measured, limit, unit, most)
    return Found(limit=limit, measured=tuple(measured))


def _next(measured: list[Measured], limit: int, unit: int, most: int) -> int | None:
    """The units to measure next, between the most that fit and the fewest that don't."""
    known = {x.batch_size // unit: x for x in measured}
    fit = max((n for n, x in known.items() if x.fits(limit)), default=0)
    fail = min((n for n, x in known.items() if not x.fits(limit)), default=most // unit + 1)
    if fail - fit <= 1:
        return None
    if not fit or len(known) == 1:
        return min(2 * fit, fail - 1) or 1
    lower, upper = known[fit], known.get(fail)
    if upper is None:  # nothing was too much yet: on along the line, but not far
        (a, at_a), (b, at_b) = ((n, known[n].needed or 0) for n in sorted(known)[-2:])
        slope = (at_b - at_a) / (b - a)
        guess = int(b + (limit - at_b) / slope) if slope > 0 else fail - 1
        return min(guess, FAR * b, fail - 1) if guess >= CLOSE * fit else None
    if lower.needed is None or upper.needed is None:  # the compiler refused without a number
        guess = (fit + fail) // 2
    else:
        share = (limit - lower.needed) / (upper.needed - lower.needed)
        guess = max(int(fit + share * (fail - fit)), fit + 1)
    return guess if guess >= CLOSE * fit else None


def needed_by(compile_step: Callable[[], Any]) -> int | None:
    """Bytes that a compiled step takes on each device, the state that it is given included.

    None where they are too many for the compiler, or the pictures alone for this machine.
    """
    try:
        found = compile_step().memory_analysis()
    except MemoryError:
        return None
    except jax.errors.JaxRuntimeError as error:
        if is_too_much(error):
            return None
        raise
    return (
        found.temp_size_in_bytes
        + found.argument_size_in_bytes
        + found.output_size_in_bytes
        - found.alias_size_in_bytes
    )


def is_too_much(error: Exception) -> bool:
    """Whether an error of XLA is about memory."""
    return "RESOURCE_EXHAUSTED" in str(error)


def limit_of(device: Any) -> int:
    """Bytes that a step may take on a device: its own, or its share of the machine's."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(SHARE * stats["bytes_limit"])
    return int(SHARE * available_memory() / jax.local_device_count())


def available_memory(root: pathlib.Path = _CGROUP) -> int:
    """Bytes that this process may still take: the machine's, or what its control group leaves."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("MemAvailable:"))
        machine = int(line.split()[1]) * 1024
    except (OSError, ValueError):  # no Linux
        pass
    return min([machine, *_left_by_groups(root)])


def _left_by_groups(root: pathlib.Path) -> list[int]:
    """Version 2 and version 1 of control groups, as a container sees its own."""
    left = []
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            bound, taken = (int((root / name).read_text()) for name in (limit, used))
        except (OSError, ValueError):  # another version, or "max"
            continue
        if bound < _UNBOUNDED:
            left.append(max(0, bound - taken))
    return left


def blank_batch(batch_size: int, image_size: int) -> steps.Batch:
    """A batch of black pictures."""
    images = np.zeros((batch_size, image_size, image_size, 3), np.uint8)
    positions = np.arange(batch_size, dtype=np.int32)
    return {"image": images, "label": np.zeros_like(positions), "position": positions}
