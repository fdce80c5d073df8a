"""The table of a model's scores, from its predictions or, while it trains, from a confusion matrix.

To add a score, write a function in metrics.py and name it in one of the five tables here; files,
tables and plots pick it up.

Of two classes the last named is the positive one.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jaxall.evaluation import calibration, metrics, predictions

# confusion matrix -> number
OVERALL: dict[str, Callable[[np.ndarray], metrics.Figure]] = {
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "f1_macro": metrics.f1_macro,
    "f1_weighted": metrics.f1_weighted,
    "kappa": metrics.cohen_kappa,
    "matthews": metrics.matthews,
}
# confusion matrix of two classes -> number
OF_TWO_CLASSES: dict[str, Callable[[np.ndarray], metrics.Figure]] = {
    "sensitivity": lambda confusion: metrics.recall(confusion)[..., -1],
    "specificity": lambda confusion: metrics.specificity(confusion)[..., -1],
}
# labels, probabilities -> number
OVERALL_FROM_PROBABILITIES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "auroc": metrics.auroc_macro,
    "average_precision": metrics.average_precision_macro,
    "loss": metrics.negative_log_likelihood,
    "brier": calibration.brier,
    "calibration_error": calibration.expected_error,
}
# confusion matrix -> one number per class
PER_CLASS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "precision": metrics.precision,
    "recall": metrics.recall,
    "specificity": metrics.specificity,
    "f1": metrics.f1,
    "support": metrics.support,
}
# labels, probabilities -> one number per class
PER_CLASS_FROM_PROBABILITIES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "auroc": metrics.auroc_per_class,
    "average_precision": metrics.average_precision_per_class,
}
# Shown with four decimals; whatever isn't named here is a share of pictures, shown in percent.
NOT_SHARES = frozenset(
    {"kappa", "matthews", "auroc", "average_precision", "loss", "brier", "calibration_error"}
)

LOWER_IS_BETTER = frozenset({"loss", "brier", "calibration_error"})


def is_lower_better(key: str) -> bool:
    """Of a score, or of a side's as the journal calls it ("validation_loss")."""
    return key.removeprefix("train_").removeprefix("validation_") in LOWER_IS_BETTER


def merit(name: str, value: float) -> float:
    """The value of a score with its sign turned where lower is better: higher is better then."""
    return -value if is_lower_better(name) else value


def by_confusion(classes: int) -> dict[str, Callable[[np.ndarray], metrics.Figure]]:
    """The overall scores that a confusion matrix of so many classes has."""
    return OVERALL | (OF_TWO_CLASSES if classes == 2 else {})


def from_confusion(confusion: npt.ArrayLike, class_names: Sequence[str]) -> dict[str, Any]:
    """Every score that needs no probabilities; those that do are left out, not NaN.

    Keys: those of `OVERALL`, "wilson_95" [low, high] of the accuracy, "examples", "confusion"
    (nested list), and "per_class": class name -> `PER_CLASS`'s keys; with two classes those of
    `OF_TWO_CLASSES` and "positive_class". Plain Python numbers.

    Raises:
        ValueError: the matrix isn't [K,K] for K class names.
    """
    matrix, k = np.asarray(confusion), len(class_names)
    if matrix.shape != (k, k):
        raise ValueError(f"wanted a confusion matrix {(k, k)} for {k} classes, got {matrix.shape}")
    columns = {name: function(matrix).tolist() for name, function in PER_CLASS.items()}
    return {
        "examples": int(matrix.sum()),
        **({"positive_class": class_names[-1]} if k == 2 else {}),
        **{name: float(function(matrix)) for name, function in by_confusion(k).items()},
        "wilson_95": list(metrics.wilson_95(matrix)),
        "per_class": _by_class(columns, class_names),
        "confusion": matrix.astype(np.int64).tolist(),
    }


def from_predictions(predictions: predictions.Predictions) -> dict[str, Any]:
    """Every score of the pictures whose label is known.

    Keys: those of `from_confusion` and of the two `..._FROM_PROBABILITIES` tables.
    """
    known = predictions.labels >= 0
    labels, probabilities = predictions.labels[known], predictions.probabilities[known]
    scores = from_confusion(predictions.confusion(), predictions.class_names)
    for name, function in OVERALL_FROM_PROBABILITIES.items():
        scores[name] = function(labels, probabilities)
    for name, per_class in PER_CLASS_FROM_PROBABILITIES.items():
        column = per_class(labels, probabilities).tolist()
        for class_name, value in zip(predictions.class_names, column, strict=True):
            scores["per_class"][class_name][name] = value
    return scores


def best(
    epochs: Sequence[Mapping[str, Any]], key: str, loss: str = "validation_loss"
) -> int | None:
    """Position of the best record: with the highest `key`, or the lowest where that is better.

    Of equals the one with the lower `loss` wins, then the later: the rule by which a run keeps its
    best checkpoint. A record in which `key` is missing, None or not finite can't win; None if no
    record can.
    """
    ranked = [
        (merit(key, epoch[key]), -epoch[loss] if _is_finite(epoch.get(loss)) else -math.inf, i)
        for i, epoch in enumerate(epochs)
        if _is_finite(epoch.get(key))
    ]
    return max(ranked)[2] if ranked else None


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def to_json(scores: Mapping[str, Any]) -> str:
    """JSON text, indented; NaN becomes null, for JSON has no NaN."""
    return json.dumps(_swap(scores, math.nan, None), indent=2, ensure_ascii=False, allow_nan=False)


def from_json(text: str) -> dict[str, Any]:
    """What `to_json` was given; null becomes NaN again."""
    return _swap(json.loads(text), None, math.nan)


def _by_class(columns: Mapping[str, list], class_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = zip(*columns.values(), strict=True)
    return {
        name: dict(zip(columns, row, strict=True))
        for name, row in zip(class_names, rows, strict=True)
    }


def _swap(value: Any, old: Any, new: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _swap(item, old, new) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_swap(item, old, new) for item in value]
    is_nan = isinstance(value, float) and math.isnan(value)
    return new if (value is None if old is None else is_nan) else value
