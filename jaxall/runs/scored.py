"""Reads back what scoring left in a run's folder."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from jaxall import files, kinds
from jaxall.errors import UserError
from jaxall.evaluation import predictions as predictions_lib
from jaxall.evaluation import scores as scores_lib
from jaxall.runs import scoring

UNITS = ("subjects", "pictures")


def _is_number(value: Any) -> bool:
    return isinstance(value, kinds.NUMBER)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and kinds.are(value, str)


def _are_intervals(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("bounds"), dict):
        return False
    are_bounds = "accuracy" in value["bounds"] and all(map(_is_pair, value["bounds"].values()))
    return are_bounds and isinstance(value.get("units"), int) and value.get("unit") in UNITS


def _is_pair(value: Any) -> bool:
    return kinds.are(value, kinds.NUMBER) and len(value) == 2


def _is_square(value: Any) -> bool:
    return kinds.are(value, list) and all(
        kinds.are(row, int) and len(row) == len(value) for row in value
    )


# What is read of a scores.json must be as these say.
KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(scores_lib.OVERALL, _is_number),
    **dict.fromkeys(scores_lib.OF_TWO_CLASSES, _is_number),
    **dict.fromkeys(scores_lib.OVERALL_FROM_PROBABILITIES, _is_number),
    **dict.fromkeys(("caveat", "title", "run", "model"), _is_text),
    **dict.fromkeys(("command", "members", "models"), _are_texts),
    "examples": lambda value: isinstance(value, int),
    "baselines": lambda value: isinstance(value, dict) and kinds.are(value, kinds.NUMBER),
    "wilson_95": _is_pair,
    "intervals_95": _are_intervals,
    "per_class": kinds.is_table_of_numbers,
    "confusion": _is_square,
}
NEEDED = ("examples", "accuracy", "wilson_95", "per_class", "confusion")  # of every scores.json


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a checkpoint, or several together, made of one side's pictures.

    Attributes:
        label: what it is called beside the others.
        scores: as in its scores.json; older ones lack "intervals_95" and "subjects".
        predictions: of each picture; None if the table is gone.
    """

    label: str
    scores: dict[str, Any]
    predictions: predictions_lib.Predictions | None

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the confusion matrix."""
        return tuple(self.scores["per_class"])


def find(folder: pathlib.Path, side: str) -> list[pathlib.Path]:
    """The scores of one side in a run's folder, in the order of their steps."""
    found = (folder / scoring.FOLDER).glob(f"{side}-*/{scoring.SCORES}")
    return sorted(found, key=lambda path: (len(path.parent.name), path.parent.name))


def load(path: pathlib.Path, label: str) -> Evaluation:
    """The evaluation whose scores.json is at `path`.

    Raises:
        UserError: its scores or predictions can't be read, or something is missing.
    """
    found = read(path)
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise UserError(f"the scores {path} are damaged: {', '.join(missing)} missing")
    wrong = kinds.wrong(found, KINDS)
    if not wrong and len(found["confusion"]) != len(found["per_class"]):
        wrong = ["confusion"]
    if wrong:
        raise UserError(f"the scores {path} are damaged: {', '.join(wrong)} of another kind")
    table = path.with_name(scoring.PREDICTIONS)
    predictions = predictions_lib.load_csv(table) if table.is_file() else None
    if predictions is not None:
        count = int((predictions.labels >= 0).sum())
        if count != found["examples"]:
            raise UserError(
                f"{table} has {count:,} pictures, {path.name} beside it is of {found['examples']:,}"
            )
    return Evaluation(label=label, scores=found, predictions=predictions)


def read(path: pathlib.Path) -> dict[str, Any]:
    """A file of scores, as `scores.to_json` wrote it.

    Raises:
        UserError: it can't be read.
    """
    try:
        found = scores_lib.from_json(files.read_text(path))
    except (OSError, ValueError) as error:
        raise UserError(f"the scores {path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"the scores {path} can't be read: wanted a table, got {found!r:.40}")
    return found
