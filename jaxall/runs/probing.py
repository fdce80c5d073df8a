"""What train --probe-batch says: the largest batch that fits, found without a picture."""

from collections.abc import Callable
from typing import Any

import jax
from rich import console as rich_console

from jaxall import config as config_lib
from jaxall.errors import UserError
from jaxall.runs import assembly, learners
from jaxall.training import parallel, plan, probe

CLASSES = 4  # pictures would tell; a class more or less weighs nothing
MOST = 1 << 16  # pictures


def largest_batch(
    config: config_lib.Config, console: rich_console.Console, limit: int | None = None
) -> int:
    """Prints what each batch that was tried needs, and the largest that fits; returns that.

    Args:
        config: validated; its own batch size plays no part.
        console: where it is printed.
        limit: bytes that are there on each device. If None, what the devices say; on a CPU less
            the pictures that a run may keep in memory.

    Raises:
        UserError: not even the smallest fits, or there are several hosts.
    """
    if jax.process_count() > 1:
        raise UserError("--probe-batch is for one host: probe there, and multiply by the hosts")
    device, unit = jax.local_devices()[0], jax.device_count() * config.train.accumulate
    if limit is None:
        limit = probe.limit_of(device)
        if not _has_own_memory(device) and not config.loader.workers:
            kept = config.loader.cache_mib * 2**20
            limit = max(0, limit - kept // jax.local_device_count())
            console.print(f"left to decoded pictures (loader.cache_mib): {_megabytes(kept)}")
    compile_at = _compiler(config)
    console.print(
        f"{config.model.name}, {jax.device_count()} x {device.device_kind}, batches of a multiple "
        f"of {unit}\n{'batch':>8}{'needed per device':>20}{'there is':>12}",
    )

    def needed(batch_size: int) -> int | None:
        with console.status(f"compiling a step of {batch_size} pictures"):
            return probe.needed_by(lambda: compile_at(batch_size)[0])

    def tell(measured: probe.Measured) -> None:
        size = _megabytes(measured.needed)
        mark = "" if measured.fits(limit) else "   too much"
        console.print(f"{measured.batch_size:8,}{size:>20}{_megabytes(limit):>12}{mark}")

    found = probe.search(needed, limit, unit=unit, most=MOST, progress=tell)
    largest = found.largest
    if _has_own_memory(device):
        largest = _proved(found, compile_at, console)
    if not largest:
        raise UserError(
            f"not even a batch of {min(x.batch_size for x in found.measured)} fits into "
            f"{_megabytes(limit)} per device: --config.model.remat, --config.model.precision="
            "bfloat16 or a smaller --config.preprocessing.image_size may help"
        )
    console.print(f"the largest batch that fits: --config.train.batch_size={largest}")
    return largest


def _has_own_memory(device: Any) -> bool:
    """A CPU's is the system's: a step that takes too much of it would be the end of the process."""
    return device.platform != "cpu"


def _compiler(config: config_lib.Config) -> Callable[[int], tuple[Any, Callable[[], Any]]]:
    """A function of the batch size: the compiled step, and one step of it, really taken."""
    preprocessing = assembly.preprocessing_of(config)
    length = plan.Plan(examples=MOST, batch_size=1, epochs=config.train.epochs)
    learner = learners.of(config, preprocessing, CLASSES, length)
    spread = parallel.Spread(config.train.parallel)
    step: Any = spread.compile(learner.widest())
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=spread.replicated),
        jax.eval_shape(learner.create),
    )

    def compile_at(batch_size: int) -> tuple[Any, Callable[[], Any]]:
        batch = spread.batch(probe.blank_batch(batch_size, preprocessing.image_size))
        compiled = step.lower(abstract, batch).compile()
        return compiled, lambda: compiled(spread.start(learner.create, None), batch)

    return compile_at


def _proved(
    found: probe.Found,
    compile_at: Callable[[int], tuple[Any, Callable[[], Any]]],
    console: rich_console.Console,
) -> int:
    """The largest of the batches that fit of which a step can really be taken; 0 if none can."""
    sizes = sorted((x.batch_size for x in found.measured if x.fits(found.limit)), reverse=True)
    for size in sizes:
        try:
            with console.status(f"taking a step of {size} pictures"):
                jax.block_until_ready(compile_at(size)[1]())
        except jax.errors.JaxRuntimeError as error:
            if not probe.is_too_much(error):
                raise
            console.print(f"{size:8,}{'a step failed':>20}")
        else:
            console.print(f"{size:8,}{'a step was taken':>20}")
            return size
    return 0


def _megabytes(count: int | None) -> str:
    return "too much" if count is None else f"{count / 1e6:,.1f} MB"
