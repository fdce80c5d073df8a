"""What both sides of a benchmark do, and how their turns are taken; imports neither."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

CLASSES = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """What both sides do.

    Attributes:
        name: of the architecture.
        batch: pictures at once.
        size: side of a picture in pixels.
        precision: "float32" or "bfloat16", of the backbone (torch: automatic mixed precision).
    """

    name: str
    batch: int
    size: int
    precision: str

    def pictures(self) -> dict[str, np.ndarray]:
        """The same random batch for both."""
        generator = np.random.default_rng(0)
        return {
            "image": generator.integers(0, 256, (self.batch, self.size, self.size, 3), np.uint8),
            "label": generator.integers(0, CLASSES, self.batch).astype(np.int32),
            "position": np.arange(self.batch, dtype=np.int32),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """Functions that return when their work is done.

    Attributes:
        train: a step of Adam with coupled L2.
        infer: logits of the batch.
    """

    train: Callable[[], Any]
    infer: Callable[[], Any]


def seconds(function: Callable[[], Any]) -> float:
    """Of one call."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def best_of(function: Callable[[], Any], calls: int = 5) -> float:
    """The quickest of some calls after a first one, in seconds."""
    function()
    return min(seconds(function) for _ in range(calls))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turns:
    """Seconds of two functions, called by turns.

    Attributes:
        pairs: (ours, theirs).
    """

    pairs: tuple[tuple[float, float], ...]

    @property
    def medians(self) -> tuple[float, float]:
        """Of ours and of theirs."""
        ours, theirs = (statistics.median(x) for x in zip(*self.pairs, strict=True))
        return ours, theirs

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times as fast ours is, pair by pair, the lowest first."""
        return tuple(sorted(theirs / ours for ours, theirs in self.pairs))

    def __str__(self) -> str:
        lowest, *_, highest = self.ratios
        return f"{statistics.median(self.ratios):.2f} ({lowest:.2f} to {highest:.2f})"


def take_turns(ours: Callable[[], Any], theirs: Callable[[], Any], count: int) -> Turns:
    """Pairs of calls; who begins changes from pair to pair."""
    pairs = []
    for number in range(count):
        if number % 2:
            last = seconds(theirs)
            pairs.append((seconds(ours), last))
        else:
            first = seconds(ours)
            pairs.append((first, seconds(theirs)))
    return Turns(pairs=tuple(pairs))
