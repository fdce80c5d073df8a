"""What the figures show, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxall.evaluation import calibration, metrics
from jaxall.evaluation.predictions import Predictions
from jaxall.evaluation.subjects import COLUMNS, Subject
from jaxall.reporting.downloads import Table


def confusion(counts: Sequence[Sequence[int]], class_names: Sequence[str]) -> Table:
    """A row for each pair of true and predicted class."""
    rows = tuple(
        (true, predicted, count)
        for true, row in zip(class_names, counts, strict=True)
        for predicted, count in zip(class_names, row, strict=True)
    )
    return Table(columns=("true", "predicted", "pictures"), rows=rows)


def roc(named: Mapping[str, Predictions], label: int) -> Table:
    """A row for each point of each run's curve of a class."""
    rows = []
    for name, positive, scores in _columns(named, label):
        false_alarms, hits, thresholds = metrics.roc_curve(positive, scores)
        points = zip(thresholds.tolist(), false_alarms.tolist(), hits.tolist(), strict=True)
        rows += [(name, *point) for point in points]
    columns = ("name", "threshold", "false_positive_rate", "true_positive_rate")
    return Table(columns=columns, rows=tuple(rows))


def precision_recall(named: Mapping[str, Predictions], label: int) -> Table:
    """A row for each point of each run's curve of a class."""
    rows = []
    for name, positive, scores in _columns(named, label):
        precisions, recalls, thresholds = metrics.precision_recall_curve(positive, scores)
        points = zip(thresholds.tolist(), recalls.tolist(), precisions.tolist(), strict=True)
        rows += [(name, *point) for point in points]
    return Table(columns=("name", "threshold", "recall", "precision"), rows=tuple(rows))


def reliability(predictions: Predictions) -> Table:
    """A row for each bin."""
    known = predictions.labels >= 0
    found = calibration.bins(predictions.labels[known], predictions.probabilities[known])
    bins = zip(
        *(part.tolist() for part in (found.count, found.confidence, found.accuracy)), strict=True
    )
    width = 1 / len(found.count)
    rows = tuple((i * width, (i + 1) * width, *values) for i, values in enumerate(bins))
    columns = ("above", "up_to", "pictures", "mean_probability", "accuracy")
    return Table(columns=columns, rows=rows)


def subjects(found: Sequence[Subject], class_names: Sequence[str]) -> Table:
    """A row for each subject, the worst first; the label is None where there are several."""
    word = dict(enumerate(class_names))
    ranked = sorted(found, key=lambda subject: (subject.accuracy, subject.name))
    rows = tuple(
        (one.name, word.get(one.label), one.pictures, one.right, one.accuracy, word[one.majority])
        for one in ranked
    )
    return Table(columns=tuple(COLUMNS), rows=rows)


def per_class(named: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A record for each run and class, from the scores of each run."""
    return [
        {"name": name, "class": class_name, **row}
        for name, scores in named.items()
        for class_name, row in scores["per_class"].items()
    ]


def _columns(named: Mapping[str, Predictions], label: int) -> list[tuple[str, Any, Any]]:
    """Name, who is of the class (bool [N]) and its probabilities [N], of labelled pictures."""
    return [
        (name, one.labels[one.labels >= 0] == label, one.probabilities[one.labels >= 0, label])
        for name, one in named.items()
    ]
