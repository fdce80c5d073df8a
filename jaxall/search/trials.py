"""A trial in hand, and its run: a process of its own, followed by what it writes down."""

import io
import math
import os
import pathlib
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from jaxall import cli, files
from jaxall.evaluation import scores
from jaxall.search import sweeps
from jaxall.training import journal

if TYPE_CHECKING:
    import optuna  # pyright: ignore[reportMissingImports] (an extra)

MEMORY = "XLA_PYTHON_CLIENT_MEM_FRACTION"
SHARE = 0.75  # of a GPU's memory, which XLA takes at once; several trials have to divide it


class Taken:
    """A trial in this process's hands.

    Attributes:
        number: of the trial.
        folder: of its run.
        log: the file for what its run says.
        settings: name -> value.
        reported: epochs that optuna has been told of.
        lock: a file descriptor for the training process to inherit.
    """

    def __init__(
        self,
        study: "optuna.Study",
        trial: "optuna.Trial",
        folder: pathlib.Path,
        lock: io.TextIOWrapper,
    ):
        self._study, self._trial, self._lock = study, trial, lock
        self.number: int = trial.number
        self.folder, self.log = folder, folder.with_suffix(".log")
        self.settings: dict[str, Any] = {}
        told = study.get_trials(deepcopy=False)[trial.number].intermediate_values
        self.reported: int = max(told, default=0)

    @property
    def lock(self) -> int:
        """The descriptor."""
        return self._lock.fileno()

    def draw(self, sweep: sweeps.Sweep) -> None:
        """Draws the settings, or reads those that were drawn."""
        self.settings = {name: kind.draw(self._trial, name) for name, kind in sweep.space.items()}

    def remember(self, command: str) -> None:
        """Writes down the command that makes the trial's run."""
        self._trial.set_user_attr("command", command)

    def report(self, epoch: int, score: float | None) -> None:
        """Tells the score of an epoch, counted from 1; one without a score is passed over."""
        self.reported = epoch
        if score is not None:
            self._trial.report(score, epoch)

    def is_hopeless(self) -> bool:
        """Whether the pruning would end it now."""
        return self._trial.should_prune()

    def finish(self, score: float) -> None:
        """It is complete."""
        self._study.tell(self._trial, score)

    def prune(self) -> None:
        """It was ended before its time."""
        import optuna  # pyright: ignore[reportMissingImports] (an extra)

        self._study.tell(self._trial, state=optuna.trial.TrialState.PRUNED)

    def fail(self, reason: str) -> None:
        """It ended without a score."""
        import optuna  # pyright: ignore[reportMissingImports] (an extra)

        self._trial.set_user_attr("error", reason)
        self._study.tell(self._trial, state=optuna.trial.TrialState.FAIL)

    def release(self) -> None:
        """Lets go of it; one that hasn't ended can be taken up again by anyone."""
        self._lock.close()


class Process(Protocol):
    """What is needed of a `subprocess.Popen`."""

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        ...

    def wait(self) -> int:
        """The exit code, once it has ended."""
        ...

    def send_signal(self, sig: int) -> None:
        """Sends a signal, if it still runs."""
        ...


def arguments(
    base: str, fixed: Sequence[str], settings: Mapping[str, Any], folder: pathlib.Path | str
) -> list[str]:
    """The arguments of `train` that make a trial's run."""
    overrides = [sweeps.override(name, value) for name, value in settings.items()]
    return ["--config", base, *fixed, *overrides, "--workdir", str(folder)]


def start(command: Sequence[str], taken: Taken, workers: int) -> subprocess.Popen:
    """Starts a trial's run, which says what it has to say into the trial's log.

    In a session of its own: a Ctrl-C at the terminal is the search's to hand on.
    """
    environment = {MEMORY: f"{SHARE / workers:.3f}", **os.environ} if workers > 1 else None
    with taken.log.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=(taken.lock,),
            start_new_session=True,
        )


class Running:
    """A trial under way.

    Args:
        taken: the trial.
        process: its run.
        score: key of an epoch's record that judges it.
        epochs: of the whole run.
    """

    def __init__(self, taken: Taken, process: Process, score: str, epochs: float):
        self.taken = taken
        self._process, self._score, self._epochs = process, score, math.ceil(epochs)
        self._is_pruned = False
        self._signal: int | None = None  # the last that the search itself handed on

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1."""
        return min(1.0, self.taken.reported / self._epochs)

    def follow(self) -> bool:
        """Reports new epochs, and ends a hopeless run; whether it has ended, and that is told."""
        code = self._process.poll()  # asked first: what it wrote at its end is read below
        self._report()
        if code is not None:
            self._tell(code)
            self.taken.release()
        return code is not None

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Has the run save and end, or with SIGKILL only end; the trial can be taken up again."""
        if self._signal != number:
            self._signal = number
            self._process.send_signal(number)

    def wait(self) -> None:
        """Until the run has ended."""
        self._process.wait()
        self.follow()

    def _report(self) -> None:
        for number, record in enumerate(journal.read(self.taken.folder, "epoch"), 1):
            if number <= self.taken.reported or self._is_pruned:
                continue
            self.taken.report(number, record.get(self._score))
            if number < self._epochs and self.taken.is_hopeless():
                self._is_pruned = True
                self._process.send_signal(signal.SIGTERM)

    def _tell(self, code: int) -> None:
        if code == 0:
            records = journal.read(self.taken.folder, "epoch")
            best = scores.best(records, self._score)
            if best is None:
                self.taken.fail(f"no epoch has a {self._score}")
            else:
                self.taken.finish(records[best][self._score])
        elif self._is_pruned:
            self.taken.prune()
        elif self._signal is None or code == cli.BAD_INPUT:
            self.taken.fail(_reason(self.taken.log, code))


def _reason(log: pathlib.Path, code: int) -> str:
    """The error line of a run that failed, or else the last line that it said."""
    text = files.read_text(log) if log.exists() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if code == cli.BAD_INPUT and errors:
        return errors[-1]
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"{how}: {lines[-1].strip()}" if lines else how
