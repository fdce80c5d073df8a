"""Reads back what scoring left in a run's folder."""

import dataclasses
import pathlib
from typing import Any

from jaxall import files
from jaxall.errors import UserError
from jaxall.evaluation import predictions as predictions_lib
from jaxall.evaluation import scores as scores_lib
from jaxall.runs import scoring

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
    table = path.with_name(scoring.PREDICTIONS)
    predictions = predictions_lib.load_csv(table) if table.is_file() else None
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
