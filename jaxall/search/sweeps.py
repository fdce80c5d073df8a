"""What a search over settings is: the settings, their ranges, and the score that judges a trial.

A sweep file imports this module only, and is one call in `get_sweep()`.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from jaxall import config as config_lib
from jaxall import config_flag
from jaxall.errors import UserError, refuse
from jaxall.evaluation import scores
from jaxall.search.ranges import Choice, Integers, Uniform

# Scores of the validation side in the journal's record of an epoch.
SCORES = tuple(f"validation_{x}" for x in (*scores.OVERALL, *scores.OVERALL_FROM_PROBABILITIES))
# Trials that differ in these are judged by different pictures, and can't be compared.
JUDGES = ("data", "split")
BEST_BY = "train.best_by"  # follows from the score, so that a trial keeps the state it is judged by


@dataclasses.dataclass(frozen=True, kw_only=True)
class Median:
    """Ends a trial whose best score is worse than the median of the others' at the same epoch.

    Attributes:
        after_epochs: that each trial may run whatever it shows.
        after_trials: that are finished before any is ended.
    """

    after_epochs: int = 2
    after_trials: int = 5


@dataclasses.dataclass(kw_only=True)
class Sweep:
    """A search, see `configs/sweeps/`.

    Attributes:
        base: path of the config file that every trial starts from.
        space: name of a setting, as after --config., -> the values to try.
        score: key of the journal's record of an epoch; of the validation side. A trial's is that
            of its best epoch, which is the checkpoint that its run keeps as the best.
        direction: "maximise" or "minimise".
        pruning: when a trial is ended before its time; None for never.
        seed: of the values that are drawn.
    """

    base: str
    space: Mapping[str, Uniform | Integers | Choice]
    score: str = "validation_f1_macro"
    direction: str = "maximise"
    pruning: Median | None = None
    seed: int = 0

    def validate(self) -> None:
        """Raises UserError naming everything that is impossible in itself."""
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.score not in SCORES:
            reason = ": the test side is for the end" if str(self.score).startswith("test") else ""
            yield f"score is one of {', '.join(SCORES)}; got {self.score!r}{reason}"
        else:
            wanted = "minimise" if scores.is_lower_better(self.score) else "maximise"
            if self.direction != wanted:
                yield f"direction of {self.score} is {wanted}; got {self.direction!r}"
        if type(self.seed) is not int or not 0 <= self.seed < 2**31:
            yield f"seed is at least 0 and below 2**31; got {self.seed!r}"
        if self.pruning and min(self.pruning.after_epochs, self.pruning.after_trials) < 1:
            yield "pruning.after_epochs and after_trials are at least 1"
        if not isinstance(self.base, str):
            yield f"base is the path of a config file; got {self.base!r}"
        if not isinstance(self.space, Mapping) or not self.space:
            yield f"space is a table of settings and their ranges; got {self.space!r}"
            return
        for name, values in self.space.items():
            if not isinstance(values, Uniform | Integers | Choice):
                yield f"{name} wants Uniform, Integers or Choice; got {type(values).__name__}"
                continue
            yield from (f"{name} {problem}" for problem in values.problems())
            if name.split(".")[0] in JUDGES:
                yield f"{name} can't be searched: trials would be judged by different pictures"
            elif name == BEST_BY:
                yield f"{name} can't be searched: it is the sweep's score"


def load(file: str) -> Sweep:
    """What `get_sweep()` of a file returns, validated.

    Raises:
        UserError: there is no such file, it fails, returns something else, or is impossible.
    """
    sweep = config_flag.call(file, "sweep")
    if not isinstance(sweep, Sweep):
        raise UserError(
            f"get_sweep() of {file} returns {type(sweep).__name__}; wanted a sweeps.Sweep"
        )
    try:
        sweep.validate()
    # What a file may hold in place of numbers and names: UserError is a ValueError too.
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise UserError(f"{file}: {error}") from error
    return sweep


def resolve(sweep: Sweep, fixed: Sequence[str] = ()) -> config_lib.Config:
    """The base config, after both ends of each range, and each choice, were tried on it.

    Of settings that are impossible only together nothing is known before their trial.

    Args:
        sweep: validated.
        fixed: overrides, --config.NAME=VALUE, of all trials.

    Raises:
        UserError: a setting that isn't there, of the wrong type, or impossible.
    """
    base = config_flag.resolve(sweep.base, fixed)
    problems: dict[str, None] = {}  # each once, in their order
    for name, values in sweep.space.items():
        if any(x.startswith(f"--config.{name}=") for x in fixed):
            problems[f"{name} is searched: it can't be set as well"] = None
        for value in values.ends:
            try:
                config_flag.resolve(sweep.base, [*fixed, override(name, value)])
            except UserError as error:
                problems[str(error)] = None
    refuse(problems)
    return base


def fixed(sweep: Sweep, settings: Sequence[str]) -> list[str]:
    """Overrides of all trials: those asked for, NAME=VALUE, and what the score demands.

    Raises:
        UserError: one of them isn't of this form, or stands against the score.
    """
    found = [_override(text) for text in settings]
    judged = override(BEST_BY, sweep.score.removeprefix("validation_"))
    if other := [text for text in found if text.startswith(f"--config.{BEST_BY}=")]:
        raise UserError(f"{BEST_BY} follows from the sweep's score, {sweep.score}; got {other[0]}")
    return [*found, judged]


def _override(text: str) -> str:
    """NAME=VALUE as an argument of `train`."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UserError(f"--set wants NAME=VALUE, as train.epochs=5; got {text!r}")
    return override(name.removeprefix("--config."), value)


def override(name: str, value: str | int | float | bool) -> str:
    """A setting as an argument of `train`; a float loses nothing."""
    return f"--config.{name}={value}"
