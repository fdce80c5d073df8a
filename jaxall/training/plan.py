"""Epochs and examples become steps here and nowhere else."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

from jaxall import errors
from jaxall.training.freezing import BATCH_NORMS, Stage

PARALLEL = ("pmap", "shard_map")
MOST_EPOCHS = 100_000
_LEAST = {"batch_size": 1, "accumulate": 1, "patience": 0, "checkpoint_every": 0, "log_every": 1}


@dataclasses.dataclass(kw_only=True)
class TrainSettings:
    """How long, how wide, and how often something is kept.

    Attributes:
        batch_size: pictures in one step, over all devices of all hosts.
        accumulate: parts that a device's share of the batch is taken in, one after another, before
            the one update: less memory. Batch norm sees a part of every device at a time, so that
            with several parts the number of devices matters to it.
        epochs: how many times each picture is seen; fractions are allowed.
        parallel: "pmap" or "shard_map"; both give the same bits.
        sync_batch_norm: batch statistics over the global batch rather than each device's share.
        batch_norm: "train", or "frozen": the backbone's running statistics are used in training,
            and kept; scales and biases are trained all the same.
        stages: parts of the run, in their order, that train a part of the network each; what is
            left of the run after them trains everything.
        ema: decay of the averages of weights and batch statistics over the steps, which are then
            what is validated; 0 for none.
        best_by: score of the validation side by which the best checkpoint is kept.
        patience: epochs in a row without a better score after which the run ends, counted from the
            end of the stages; 0 for none.
        checkpoint_every: steps between checkpoints inside an epoch; 0 for only at its end.
        log_every: steps between records in the journal.
    """

    batch_size: int = 16
    accumulate: int = 1
    epochs: float = 40.0
    parallel: str = "pmap"
    sync_batch_norm: bool = True
    batch_norm: str = "train"
    stages: tuple[Stage, ...] = ()
    ema: float = 0.0
    best_by: str = "f1_macro"
    patience: int = 0
    checkpoint_every: int = 0
    log_every: int = 10

    def validate(self) -> None:
        """Raises UserError naming every impossible field, what it may be, and what came."""
        errors.refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.parallel not in PARALLEL:
            yield f"train.parallel is one of {', '.join(PARALLEL)}; got {self.parallel!r}"
        if not 0 < self.epochs <= MOST_EPOCHS:
            yield f"train.epochs is above 0 and at most {MOST_EPOCHS:,}; got {self.epochs:g}"
        if self.batch_norm not in BATCH_NORMS:
            yield f"train.batch_norm is one of {', '.join(BATCH_NORMS)}; got {self.batch_norm!r}"
        if not 0 <= self.ema < 1:
            yield f"train.ema is at least 0 and below 1; got {self.ema:g}"
        for name, least in _LEAST.items():
            if (came := getattr(self, name)) < least:
                yield f"train.{name} is at least {least}; got {came}"
        for index, stage in enumerate(self.stages):
            yield from stage.problems(f"train.stages[{index}]")
        staged = sum(stage.epochs for stage in self.stages)
        if staged > self.epochs + 1e-6:  # a sum of fractions
            yield (
                f"train.stages last no longer than train.epochs, which is {self.epochs:g}; got "
                f"{staged:g} in all"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A run's length. Batches follow one another through the shuffled epochs without a gap.

    Attributes:
        examples: pictures in one epoch.
        batch_size: pictures in one step, over all devices.
        epochs: how many times each picture is seen; fractions are allowed.

    Raises:
        UserError: a batch is larger than an epoch.
    """

    examples: int
    batch_size: int
    epochs: float

    def __post_init__(self) -> None:
        if self.batch_size > self.examples:
            raise errors.UserError(
                f"train.batch_size is at most the {self.examples} training pictures; "
                f"got {self.batch_size}"
            )

    @property
    def steps(self) -> int:
        """Steps of the whole run; at least one."""
        return max(1, self.step_at(self.epochs))

    def step_at(self, epoch: float) -> int:
        """The step after which `epoch` epochs have been seen; rounded up to a whole batch."""
        seen = round(epoch * self.examples, 6)  # 0.07 * 100 is a little more than 7
        return math.ceil(seen / self.batch_size)

    def starts(self, durations: Sequence[float]) -> list[int]:
        """The steps after which each of these follows the one before, and the step of their end.

        Args:
            durations: in epochs.
        """
        return [self.step_at(epoch) for epoch in itertools.accumulate(durations, initial=0.0)]

    def epoch_ends(self) -> list[int]:
        """The step at which each epoch ends; the last is the run's end."""
        whole = [self.step_at(epoch) for epoch in range(1, int(self.epochs) + 1)]
        return whole if whole and whole[-1] == self.steps else [*whole, self.steps]
