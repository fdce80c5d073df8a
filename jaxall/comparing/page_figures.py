"""The page's figures of one set of pictures, drawn and written beside it."""

import functools
from collections.abc import Sequence
from typing import Any

from jaxall.evaluation import subjects
from jaxall.reporting import (
    by_subject,
    downloads,
    figure_data,
    figures,
    plots,
    reliability,
    standings,
)
from jaxall.reporting.page_folder import PageFolder
from jaxall.runs.scored import Evaluation


def overview(
    rows: Sequence[dict[str, Any]], letter: str, folder: PageFolder
) -> list[dict[str, str]]:
    """The accuracy of all runs in one figure; none where only a mean of folds is known."""
    named = [row for row in rows if row["kind"] != standings.FOLDS]
    if not any(row["kind"] == standings.RUN for row in named):
        return []
    keys = ("kind", "name", "accuracy", "accuracy_low", "accuracy_high")
    table = downloads.of_records([{key: row.get(key) for key in keys} for row in named])
    return [
        folder.figure(
            f"{letter}-accuracy",
            "Accuracy",
            "of each run with its 95 % interval; the lines are baselines, which need no network",
            lambda path: figures.intervals(named, path),
            table,
        )
    ]


def _curves(
    evaluations: Sequence[Evaluation], letter: str, folder: PageFolder
) -> list[dict[str, Any]]:
    """ROC and precision over recall, all runs of a set in one figure for each class."""
    named = {one.label: one.predictions for one in evaluations if one.predictions}
    if not named:
        return []
    class_names = evaluations[0].class_names
    # Of two classes the positive one only: the other's curve is its mirror.
    shown_classes = list(enumerate(class_names))[-1 if len(class_names) == 2 else 0 :]
    kinds = {
        "ROC": (figures.roc, figure_data.roc),
        "precision over recall": (figures.precision_recall, figure_data.precision_recall),
    }
    drawn = [
        folder.figure(
            f"{letter}-{kind}-{name}",
            name,
            f"against the rest: {kind}",
            functools.partial(draw, named, label),
            table(named, label),
        )
        for kind, (draw, table) in kinds.items()
        for label, name in shown_classes
    ]
    return [{"heading": "Curves", "figures": drawn, "is_broad": False}]


def parts(
    evaluations: Sequence[Evaluation], letter: str, folder: PageFolder
) -> list[dict[str, Any]]:
    """Curves of all evaluations together, then figures of each, by kind.

    Returns:
        "heading", "figures" (as `PageFolder.figure` returns them) and "is_broad" of each kind.
    """
    kinds = {
        "Confusion": _confusion,
        "By subject": _subjects,
        "Reliability": _reliability,
    }
    found_parts = _curves(evaluations, letter, folder)
    for heading, draw in kinds.items():
        found = [draw(one, letter, folder) for one in evaluations]
        if drawn := [figure for figure in found if figure]:
            found_parts.append(
                {"heading": heading, "figures": drawn, "is_broad": draw is _subjects}
            )
    return found_parts


def _confusion(one: Evaluation, letter: str, folder: PageFolder) -> dict[str, str]:
    counts, names = one.scores["confusion"], one.class_names
    return folder.figure(
        f"{letter}-{one.label}-confusion",
        one.label,
        "pictures by true and predicted class",
        lambda path: plots.confusion_matrix(counts, names, path),
        figure_data.confusion(counts, names),
    )


def _subjects(one: Evaluation, letter: str, folder: PageFolder) -> dict[str, str] | None:
    patients = subjects.of(one.predictions) if one.predictions else ()
    if not patients:
        return None
    return folder.figure(
        f"{letter}-{one.label}-subjects",
        one.label,
        "accuracy of each subject; hollow: most of its pictures were called another class",
        lambda path: by_subject.accuracies(patients, one.class_names, path),
        figure_data.subjects(patients, one.class_names),
    )


def _reliability(one: Evaluation, letter: str, folder: PageFolder) -> dict[str, str] | None:
    predictions = one.predictions
    if predictions is None:
        return None
    return folder.figure(
        f"{letter}-{one.label}-reliability",
        one.label,
        "how often a call is right, by its probability; under the dotted line it is too sure",
        lambda path: reliability.diagram(predictions, path),
        figure_data.reliability(predictions),
    )
