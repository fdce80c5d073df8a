"""Epochs and examples become steps here and nowhere else."""

import dataclasses
import math
from collections.abc import Iterator

from jaxall import errors

PARALLEL = ("pmap", "shard_map")
MOST_EPOCHS = 100_000


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
        best_by: score of the validation side by which the best checkpoint is kept.
        checkpoint_every: steps between checkpoints inside an epoch; 0 for only at its end.
        log_every: steps between records in the journal.
    """

    batch_size: int = 16
    accumulate: int = 1
    epochs: float = 40.0
    parallel: str = "pmap"
    sync_batch_norm: bool = True
    best_by: str = "f1_macro"
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
        least_of = {"batch_size": 1, "accumulate": 1, "checkpoint_every": 0, "log_every": 1}
        for name, least in least_of.items():
            if (came := getattr(self, name)) < least:
                yield f"train.{name} is at least {least}; got {came}"


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

    def epoch_ends(self) -> list[int]:
        """The step at which each epoch ends; the last is the run's end."""
        whole = [self.step_at(epoch) for epoch in range(1, int(self.epochs) + 1)]
        return whole if whole and whole[-1] == self.steps else [*whole, self.steps]
