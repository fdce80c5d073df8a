"""A study: the trials of a sweep in one SQLite file, which several processes may share.

study.db   the trials, as optuna keeps them     sweep.json   what is searched, and the base config
trial0003/, trial0003.log   the run of a trial, and what it said

A trial is in the hands of whoever holds the lock on `.trial0003.lock`. The training process is
given it too, so the lock is free once both it and the search that started it are gone, however
they ended; then the trial can be taken up again where it was left. Unlike a heartbeat, that takes
no time to notice and never takes a slow process for a dead one.
"""

import contextlib
import dataclasses
import fcntl
import io
import json
import os
import pathlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from jaxall import config as config_lib
from jaxall import files
from jaxall.errors import UserError
from jaxall.reporting import sweeps as shown
from jaxall.search import sweeps, trials

if TYPE_CHECKING:
    import optuna  # pyright: ignore[reportMissingImports] (an extra)

DATABASE, SWEEP = "study.db", "sweep.json"
PATIENCE = 120  # seconds that one process waits for another that writes
ENOUGH = 40  # finished trials before it is said which setting mattered: of fewer it is chance
DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "maximise": "maximize",
    "minimise": "minimize",
}
UNFIT = ("?", "#", "%")  # in names of folders
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


class Study:
    """The trials of a sweep in a folder.

    Args:
        workdir: the folder; made if need be.
        sweep: validated.
        base: the config that all trials start from.

    Raises:
        UserError: optuna is missing, or the folder holds something else.
    """

    def __init__(self, workdir: pathlib.Path, sweep: sweeps.Sweep, base: config_lib.Config):
        if any(character in str(workdir) for character in UNFIT):
            raise UserError(
                f"{workdir} has one of {' '.join(UNFIT)} in it, which no address of a database may "
                "have: choose another --workdir"
            )
        try:
            import optuna  # pyright: ignore[reportMissingImports] (an extra)
        except ImportError as error:
            raise UserError(
                f"a sweep needs optuna (pip install 'optuna>=4,<6'); importing it gave: {error}"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._workdir, self._sweep = workdir, sweep
        workdir.mkdir(parents=True, exist_ok=True)
        with self._alone(), _sound(workdir):
            _claim(workdir, sweep, base)
            self._storage = optuna.storages.RDBStorage(
                f"sqlite:///{workdir / DATABASE}",
                engine_kwargs={"connect_args": {"timeout": PATIENCE}},
            )
            pruning = sweep.pruning
            self._study = optuna.create_study(
                storage=self._storage,
                study_name="sweep",
                direction=DIRECTIONS[sweep.direction],
                load_if_exists=True,
                pruner=optuna.pruners.NopPruner()
                if pruning is None
                else optuna.pruners.MedianPruner(pruning.after_trials, pruning.after_epochs),
            )

    def __enter__(self) -> "Study":
        return self

    def __exit__(self, *_: object) -> None:
        self._storage.remove_session()
        self._storage.engine.dispose()

    def take(self, most: int) -> trials.Taken | None:
        """A trial that was cut off, or else a new one; None once there are `most`.

        The values of trial n depend on the sweep's seed, n, and the trials before it only: a
        search that was cut off draws what it would have drawn.
        """
        with self._alone(), _sound(self._workdir):
            begun = self._study.get_trials(deepcopy=False)
            for trial in begun:
                if not trial.state.is_finished() and (taken := self._again(trial)):
                    return taken
            if len(begun) >= most:
                return None
            self._seed(len(begun))
            new = self._study.ask()
            return self._begin(new, _lock(_folder_of(self._workdir, new.number)))

    def rows(self) -> list[shown.Trial]:
        """All trials, in their order."""
        return [
            shown.Trial(
                number=trial.number,
                state=STATES.get(trial.state.name, "unfinished"),
                score=self._best_of(trial),
                epochs=max(trial.intermediate_values, default=0),
                settings=dict(trial.params),
                error=trial.user_attrs.get("error", ""),
                command=trial.user_attrs.get("command", ""),
            )
            for trial in self._study.get_trials(deepcopy=False)
        ]

    def importances(self) -> dict[str, float]:
        """How much each setting mattered to the score, by functional ANOVA; they add up to 1.

        Empty where too few trials are complete, or they don't differ.
        """
        import optuna  # pyright: ignore[reportMissingImports] (an extra)

        complete = [row for row in self.rows() if row.state == "complete"]
        if len(complete) < ENOUGH or len({row.score for row in complete}) == 1:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._sweep.seed)
            return optuna.importance.get_param_importances(self._study, evaluator=evaluator)

    def _best_of(self, trial: "optuna.trial.FrozenTrial") -> float | None:
        best = max if self._sweep.direction == "maximise" else min
        return best(trial.intermediate_values.values(), default=None)

    def _again(self, trial: "optuna.trial.FrozenTrial") -> trials.Taken | None:
        """A trial that was begun; None if it is in someone's hands, or has just been ended."""
        import optuna  # pyright: ignore[reportMissingImports] (an extra)

        try:
            lock = _lock(_folder_of(self._workdir, trial.number))
        except BlockingIOError:
            return None
        if self._study.get_trials(deepcopy=False)[trial.number].state.is_finished():
            lock.close()
            return None
        self._seed(trial.number)
        # optuna has no public way to go on with a trial that was begun elsewhere
        return self._begin(optuna.trial.Trial(self._study, trial._trial_id), lock)

    def _begin(self, trial: "optuna.Trial", lock: io.TextIOWrapper) -> trials.Taken:
        folder = _folder_of(self._workdir, trial.number)
        taken = trials.Taken(self._study, trial, folder, lock)
        taken.draw(self._sweep)
        return taken

    def _seed(self, number: int) -> None:
        """Else each process would begin with the same draws, and again after each cut."""
        import optuna  # pyright: ignore[reportMissingImports] (an extra)

        (seed,) = np.random.SeedSequence((self._sweep.seed, number)).generate_state(1)
        self._study.sampler = optuna.samplers.TPESampler(seed=int(seed))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._workdir / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@contextlib.contextmanager
def _sound(workdir: pathlib.Path) -> Iterator[None]:
    """Turns what a damaged or unwritable database makes optuna raise into one line."""
    import sqlalchemy.exc  # pyright: ignore[reportMissingImports] (optuna's)

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, KeyError, TypeError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise UserError(
            f"{workdir / DATABASE} can't be read or written ({reason}); its trials are in their "
            "folders still"
        ) from error


def exists(workdir: pathlib.Path) -> bool:
    """Whether a study was begun there."""
    return (workdir / DATABASE).exists()


def _folder_of(workdir: pathlib.Path, number: int) -> pathlib.Path:
    return workdir / f"trial{number:04d}"


def _lock(folder: pathlib.Path) -> io.TextIOWrapper:
    """Raises BlockingIOError where someone holds it."""
    file = folder.with_name(f".{folder.name}.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _claim(workdir: pathlib.Path, sweep: sweeps.Sweep, base: config_lib.Config) -> None:
    """Writes down what is searched, or checks it against what is there."""
    path = workdir / SWEEP
    space = {
        name: {"kind": type(values).__name__, **dataclasses.asdict(values)}
        for name, values in sweep.space.items()
    }
    plain = json.loads(json.dumps({**dataclasses.asdict(sweep), "space": space}))
    if not path.exists():
        if any(name[0] != "." for name in os.listdir(workdir)):
            raise UserError(f"{workdir} is not empty and holds no sweep: choose another --workdir")
        values = {"sweep": plain, "config": json.loads(base.to_json())}
        files.write(path, json.dumps(values, indent=2) + "\n")
        return
    database = workdir / DATABASE
    if any(workdir.glob("trial[0-9]*")) and not (database.is_file() and database.stat().st_size):
        raise UserError(f"{database} is gone or empty, but there are trials: put it back")
    try:
        there = json.loads(files.read_text(path))
        before = config_lib.Config.from_json(json.dumps(there["config"]))
        old = dict(there["sweep"], base=plain["base"])  # its content is compared, not its name
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    changed = [
        f"{key}: {old.get(key)} -> {value}" for key, value in plain.items() if old.get(key) != value
    ]
    changed += [f"config.{line}" for line in config_lib.differences(before, base)]
    if changed:
        raise UserError(
            f"{workdir} holds another sweep ({len(changed)} settings differ, the first: "
            f"{changed[0]}); choose another --workdir or the same settings",
            changed,
        )
