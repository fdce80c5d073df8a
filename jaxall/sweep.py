"""Searches settings: many runs of train, those that promise nothing ended early.

python -m jaxall.sweep --sweep configs/sweeps/learning_rate.py --workdir runs/a --trials 20

The same command goes on with a search that was cut off; started in a second shell, it helps. For
several workers on one GPU the memory is divided.
"""

from __future__ import annotations

import pathlib
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence

from absl import flags
from etils import epy
from rich import console as rich_console

from jaxall import cli
from jaxall.errors import UserError

with epy.lazy_imports():  # each at its first use: --help and a wrong flag need none
    from jaxall import config as config_lib
    from jaxall import config_flag, files
    from jaxall.reporting import progress, tables
    from jaxall.reporting import sweeps as shown
    from jaxall.search import studies, sweeps, trials

_SWEEP = flags.DEFINE_string("sweep", "", "FILE.py with get_sweep(), see configs/sweeps/")
# Other commands have this flag too, and all may be imported into one process.
_WORKDIR = flags.DEFINE_string(
    "workdir", "", "the sweep's folder; runs/NAME of its file if empty", allow_override=True
)
_TRIALS = flags.DEFINE_integer("trials", 20, "trials in all, those there are included", 1)
_WORKERS = flags.DEFINE_integer("workers", 1, "trials of this command that run at once", 1)
_SET = flags.DEFINE_multi_string("set", [], "NAME=VALUE: a setting of all trials; repeatable")
_SHOW = flags.DEFINE_bool("show", False, "only show the trials there are")

PROGRAM = (sys.executable, "-m", "jaxall.train")
TABLE, PLOT = "sweep.csv", "sweep.png"
PAUSE = 0.5  # seconds between two looks at the runs
HOPELESS = 3  # trials that fail, none before them having succeeded


def search(
    study: studies.Study,
    start: Callable[[trials.Taken], trials.Running],
    console: rich_console.Console,
    *,
    score: str,
    most: int,
    workers: int = 1,
    stops: Callable[[], int] = lambda: 0,
    pause: Callable[[], None] = lambda: time.sleep(PAUSE),
) -> None:
    """Runs trials until there are `most`, or it is asked to stop.

    Args:
        study: where they are kept.
        start: starts the run of a trial.
        console: gets a line for each that ends.
        score: key of the score that judges them.
        most: trials in all.
        workers: trials at once.
        stops: how often it was asked to stop: once, runs save and end; twice, they end.
        pause: called between two looks at the runs.

    Raises:
        UserError: none of the first three that ended here was more than a failure.
    """
    running: list[trials.Running] = []
    outcomes: list[shown.Trial] = []
    try:
        with progress.sweep_bar(console, most) as report:
            while True:
                while not stops() and len(running) < workers and (taken := study.take(most)):
                    running.append(start(taken))
                if not running:
                    return
                if stops():
                    for run in running:
                        run.stop(signal.SIGTERM if stops() == 1 else signal.SIGKILL)
                ended = [run for run in running if run.follow()]
                running = [run for run in running if run not in ended]
                rows = study.rows()
                for run in ended:
                    outcomes.append(rows[run.taken.number])
                    console.print(_line(outcomes[-1], rows, score), soft_wrap=True)
                _refuse_to_go_on(outcomes)
                done = sum(row.state in studies.STATES.values() for row in rows)
                report(done + sum(run.share for run in running), _best_so_far(rows, score))
                if not ended:
                    pause()
    finally:
        for run in running:
            run.stop()
        for run in running:
            run.wait()


def show(
    study: studies.Study,
    sweep: sweeps.Sweep,
    fixed: Sequence[str],
    folder: pathlib.Path,
    console: rich_console.Console,
) -> None:
    """Prints the trials and what follows from them, and writes sweep.csv and sweep.png."""
    rows = study.rows()
    if not rows:
        console.print(f"no trial in {folder} yet")
        return
    console.print(shown.trial_table(rows, sweep.score))
    files.write(folder / TABLE, shown.to_csv(rows, sweep.score))
    logarithmic = [name for name, values in sweep.space.items() if getattr(values, "log", False)]
    choices = [name for name, values in sweep.space.items() if isinstance(values, sweeps.Choice)]
    title = f"{folder.name}: {len(rows)} trials from {sweep.base}"
    shown.draw(rows, sweep.score, folder / PLOT, logarithmic, choices, title)
    console.print(f"  {folder / TABLE}\n  {folder / PLOT}", soft_wrap=True)
    if found := study.importances():
        shares = ", ".join(f"{name} {share:.0%}" for name, share in found.items())
        console.print(f"what mattered, roughly: {shares}", soft_wrap=True)
    if winner := shown.best(rows, sweep.score):
        of_train = trials.arguments(sweep.base, fixed, winner.settings, "FOLDER")
        run = folder / f"trial{winner.number:04d}"
        console.print(
            f"best: {_best_so_far(rows, sweep.score)}\n"
            f"its run: python -m jaxall.evaluate {shlex.quote(str(run))} --split test\n"
            f"its settings: python -m jaxall.train {shlex.join(of_train)}",
            soft_wrap=True,
        )


def _refuse_to_go_on(outcomes: Sequence[shown.Trial]) -> None:
    """What fails every time, from the start, is not the trials' own fault."""
    if [row.state for row in outcomes[:HOPELESS]] == ["failed"] * HOPELESS:
        last = outcomes[HOPELESS - 1].error
        raise UserError(f"the first {HOPELESS} trials failed, the last by: {last}")


def _line(trial: shown.Trial, rows: Sequence[shown.Trial], score: str) -> str:
    """What is said of a trial that has ended."""
    if trial.state == "failed":
        return f"trial {trial.number} failed: {trial.error}"
    wording, value = tables.wording(score), tables.score(score, trial.score)
    how = f"{trial.state} after {trial.epochs} epochs"
    return f"trial {trial.number} {how}: {wording} {value}; best: {_best_so_far(rows, score)}"


def _best_so_far(rows: Sequence[shown.Trial], score: str) -> str:
    winner = shown.best(rows, score)
    if winner is None:
        return "none yet"
    return f"trial {winner.number}, {tables.wording(score)} {tables.score(score, winner.score)}"


class StopRequests:
    """SIGTERM, Ctrl-C or a closed terminal: the runs under way save and end.

    Attributes:
        count: how many have come.
        exit_code: 128 and the last one's number.
    """

    def __init__(self) -> None:
        self.count, self.exit_code = 0, 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, number: int, _frame: object) -> None:
        self.count, self.exit_code = self.count + 1, 128 + number
        if self.count == 1:
            print("stopping: runs save what they have; again: at once", file=sys.stderr)


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    if arguments:
        raise UserError(f"sweep takes flags only; got {' '.join(arguments)}")
    if not _SWEEP.value:
        raise UserError("wanted --sweep FILE.py, a file with get_sweep() as in configs/sweeps/")
    sweep = sweeps.load(_SWEEP.value)
    fixed = sweeps.fixed(sweep, _SET.value)
    base = sweeps.resolve(sweep, fixed)
    folder = pathlib.Path(_WORKDIR.value or pathlib.Path("runs") / pathlib.Path(_SWEEP.value).stem)
    if _SHOW.value and not studies.exists(folder):
        raise UserError(f"{folder} holds no sweep")
    console = cli.console()

    def start(taken: trials.Taken) -> trials.Running:
        if changed := config_lib.differences(base, config_flag.resolve(sweep.base, fixed)):
            raise UserError(
                f"{sweep.base} has changed since the search began ({changed[0]}): its trials could "
                "not be compared"
            )
        of_train = trials.arguments(sweep.base, fixed, taken.settings, taken.folder)
        taken.remember(shlex.join(["python", *PROGRAM[1:], *of_train]))
        process = trials.start([*PROGRAM, *of_train], taken, _WORKERS.value)
        epochs = taken.settings.get("train.epochs", base.train.epochs)
        return trials.Running(taken, process, sweep.score, epochs)

    with studies.Study(folder, sweep, base) as study:
        if not _SHOW.value:
            requests = StopRequests()
            search(
                study,
                start,
                console,
                score=sweep.score,
                most=_TRIALS.value,
                workers=_WORKERS.value,
                stops=lambda: requests.count,
            )
            if requests.count:
                console.print("stopped as asked; the same command goes on from here")
                return requests.exit_code
        show(study, sweep, fixed, folder, console)
    return 0


if __name__ == "__main__":
    cli.run(main)
