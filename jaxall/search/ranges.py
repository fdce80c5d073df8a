"""The values of a setting that a sweep tries."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any


@dataclasses.dataclass(frozen=True)
class Uniform:
    """A number between two others, both included.

    Attributes:
        low: the least.
        high: the most.
        log: whether each factor of ten is as likely as any other.
    """

    low: float
    high: float
    log: bool = dataclasses.field(default=False, kw_only=True)

    @property
    def ends(self) -> tuple[float, float]:
        """The values that must be possible for all to be."""
        return float(self.low), float(self.high)

    def draw(self, trial: Any, name: str) -> float:
        """The value of an `optuna.Trial`."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def problems(self) -> Iterator[str]:
        """What is wrong with it."""
        yield from _wrong_range(self.low, self.high, self.log)


@dataclasses.dataclass(frozen=True)
class Integers:
    """A whole number between two others, both included.

    Attributes:
        low: the least.
        high: the most.
        step: from each to the next.
        log: whether each factor of ten is as likely as any other; then the step is 1.
    """

    low: int
    high: int
    step: int = dataclasses.field(default=1, kw_only=True)
    log: bool = dataclasses.field(default=False, kw_only=True)

    @property
    def ends(self) -> tuple[int, int]:
        """The values that must be possible for all to be."""
        return self.low, self.high

    def draw(self, trial: Any, name: str) -> int:
        """The value of an `optuna.Trial`."""
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)

    def problems(self) -> Iterator[str]:
        """What is wrong with it."""
        if any(type(value) is not int for value in (self.low, self.high, self.step)):
            yield f"wants whole numbers; got {self.low!r}, {self.high!r}, step {self.step!r}"
            return
        yield from _wrong_range(self.low, self.high, self.log)
        if self.step < 1 or (self.log and self.step != 1) or (self.high - self.low) % self.step:
            yield f"wants a step of 1, or without log one that leads to its end; got {self.step}"


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values.

    Attributes:
        values: texts, numbers, True or False.
    """

    values: tuple[str | int | float | bool, ...]

    @property
    def ends(self) -> tuple[str | int | float | bool, ...]:
        """The values that must be possible for all to be."""
        return self.values

    def draw(self, trial: Any, name: str) -> str | int | float | bool:
        """The value of an `optuna.Trial`."""
        return trial.suggest_categorical(name, self.values)

    def problems(self) -> Iterator[str]:
        """What is wrong with it."""
        is_list = isinstance(self.values, tuple | list)
        if not is_list or any(not isinstance(x, str | int | float) for x in self.values):
            yield f"wants texts, numbers, True or False; got {self.values!r}"
        elif len(set(self.values)) != len(self.values) or len(self.values) < 2:
            yield f"wants two different values or more; got {self.values!r}"


def _wrong_range(low: float, high: float, log: bool) -> Iterator[str]:
    are_numbers = all(isinstance(x, int | float) and math.isfinite(x) for x in (low, high))
    if not are_numbers or low >= high:
        yield f"wants two finite numbers, the lower first; got {low!r}, {high!r}"
    elif log and low <= 0:
        yield f"wants numbers above 0 for log; got {low!r}"
