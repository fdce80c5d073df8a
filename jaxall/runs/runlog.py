"""What a run tells the person at the terminal, and what it writes down for later."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from rich import console as rich_console

from jaxall import config as config_lib
from jaxall import runtime
from jaxall.data import balance, splits
from jaxall.evaluation import scores
from jaxall.reporting import course, tables
from jaxall.runs import assembly
from jaxall.training import journal, loop, plan, state

CURVES = "curves.png"
# Of an epoch's record; all else is the same however often a run is cut short.
OF_THE_MACHINE = (
    *("seconds", "images_per_second", "waiting_share", "pictures", "compiling"),
    *("peak_host_mib", "peak_device_mib"),
)


class RunLog:
    """The terminal's lines, the journal and the curves; of several hosts only the first writes.

    Args:
        folder: of the run.
        config: its settings.
        console: the terminal.
        rate: learning rate as a function of the step.
        start: step that the run goes on from.

    Attributes:
        scale: what a plateau has left of that rate; to be set where it changes.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        config: config_lib.Config,
        console: rich_console.Console,
        rate: Callable[[int], Any],
        start: int,
    ):
        self._folder, self._config, self._console = folder, config, console
        self._rate, self._start, self.scale = rate, start, 1.0
        self._journal = journal.Journal(folder, start) if jax.process_index() == 0 else None

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        if self._journal:
            self._journal.close()

    def header(
        self,
        material: assembly.Material,
        length: plan.Plan,
        draws: balance.Draws,
        lines: Sequence[str],
        *,
        is_over: bool = False,
    ) -> None:
        """What will be done, and the epochs so far of a run that goes on.

        Args:
            material: the pictures.
            length: of the run.
            draws: of the training pictures.
            lines: what more there is to say.
            is_over: whether the run has ended already.
        """
        config, split = self._config, material.split
        devices = ", ".join(sorted({device.device_kind for device in jax.devices()}))
        counts = ", ".join(f"{len(split.indices(side))} {side}" for side in splits.SIDES)
        self._console.print(
            f"{config.name}: {config.model.name} from {config.model.init}, "
            f"{material.preprocessing.image_size} px, {config.model.precision}, "
            f"{jax.device_count()} x {devices} ({config.train.parallel})\n"
            f"{material.data_set.name}: {counts} pictures, {config.split.kind} split; "
            f"{length.steps} steps of {length.batch_size}; folder {self._folder}\n"
            f"{draws.summary()}"
        )
        self._console.print("\n".join(lines), soft_wrap=True)
        if self._journal and not journal.read(self._folder, "sampling"):
            self._journal.write("sampling", self._start, **draws.effective_counts())
        if self._start and not is_over:
            self._console.print(f"going on from step {self._start} of {length.steps}")
        self._console.print(tables.epoch_table(self._epochs()))

    def step(self, number: int, values: dict[str, float]) -> None:
        """A step's metrics."""
        if self._journal:
            self._journal.write("step", number, **values, learning_rate=self._rate_at(number))

    def epoch(
        self,
        step: int,
        number: int,
        epoch: loop.Epoch,
        class_names: Sequence[str],
        found: dict[str, Any],
        compiles: bool = False,
    ) -> None:
        """An epoch's scores: a record, a line of the table, and the curves.

        Args:
            step: with which it ended.
            number: from 1.
            epoch: what its steps were.
            class_names: in the order of the logits.
            found: the scores of the validation side.
            compiles: whether its time holds that of a compilation.
        """
        if self._journal:
            record = {
                "epoch": min(number, self._config.train.epochs),
                **of_training(epoch.tally, class_names),
                **flat("validation", found),
                **of_time(epoch.seconds, epoch.waited, epoch.pictures),
                "pictures": epoch.pictures,
                "compiling": compiles,
                **runtime.peak_memory(),
            }
            self._journal.write("epoch", step, **record, learning_rate=self._rate_at(step))
            epochs, steps = journal.course(self._folder)
            key = f"validation_{self._config.train.best_by}"
            best = scores.best(epochs, key)
            mark = 0 if best == len(epochs) - 1 else None
            self._console.print(tables.epoch_table(epochs[-1:], mark, show_header=False))
            course.learning_curves(epochs, self._folder / CURVES, best_by=key, steps=steps)

    def ended(self, stopped: int | None, *, is_new: bool) -> None:
        """Why there are no more epochs.

        Args:
            stopped: the epoch after which the run ended early, if it did.
            is_new: whether it was trained at all since the start.
        """
        settings = self._config.train
        if stopped and stopped < settings.epochs:
            why = f"stopped early at epoch {stopped}"
            since = f": {settings.patience} epochs without a better validation {settings.best_by}"
        else:
            why, since = f"all {settings.epochs:g} epochs are done", ""
        if not is_new:
            self._console.print(f"nothing left to do: {why}{since}")
        elif since:
            self._console.print(f"{why}{since}")

    def footer(self, best: int | None) -> None:
        """Where everything is."""
        self._console.print(
            f"best checkpoint by validation {self._config.train.best_by}: step {best}; "
            f"curves: {self._folder / CURVES}\n"
            f"next: python -m jaxall.evaluate {self._folder} --split test"
        )

    def _epochs(self) -> list[dict[str, Any]]:
        return journal.read(self._folder, "epoch")

    def _rate_at(self, number: int) -> float:
        return float(self._rate(number - 1)) * self.scale


def of_training(tally: state.Tally, class_names: Sequence[str]) -> dict[str, Any]:
    """Scores of an epoch's training pictures, as they were met: augmented, dropout on."""
    found = scores.from_confusion(tally.confusion, class_names)
    return flat("train", {"loss": float(tally.loss) / found["examples"], **found})


def of_time(seconds: float, waited: float, pictures: int) -> dict[str, float]:
    """How fast an epoch's steps were, and the share of their time that waiting for data took."""
    return {
        "seconds": seconds,
        "images_per_second": pictures / seconds,
        "waiting_share": waited / seconds,
    }


def flat(side: str, found: dict[str, Any]) -> dict[str, Any]:
    """{"accuracy": ...} as {"validation_accuracy": ...}."""
    return {f"{side}_{name}": value for name, value in found.items()}
