"""Scores of a classifier: small functions, each of one definition.

Most take a confusion matrix [K,K] (rows true, columns predicted, each cell a number of pictures) or
a stack of them [...,K,K], and give each its own figure. A figure that isn't defined is NaN, where
scikit-learn puts 0 or 1 and warns; a class without pictures is left out of means over classes,
where scikit-learn counts a 0 once it was predicted.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Z_95 = 1.959963984540054  # the normal distribution's 97.5th percentile
Figure = Any  # np.float64 of one matrix [K,K], an array [...] of a stack [...,K,K]


def confusion(labels: npt.ArrayLike, predicted: npt.ArrayLike, num_classes: int) -> np.ndarray:
    """Counts of (true, predicted) pairs, int64 [K,K]; negative labels are left out."""
    labels, predicted = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    known = labels >= 0
    cells = labels[known] * num_classes + predicted[known]
    counts = np.bincount(cells, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def accuracy(confusion: npt.ArrayLike) -> Figure:
    """Share of the pictures that were named rightly; NaN without pictures."""
    matrix = np.asarray(confusion, np.float64)
    return _ratio(_diagonal(matrix).sum(-1), matrix.sum((-2, -1)))


def recall(confusion: npt.ArrayLike) -> np.ndarray:
    """Share of each class that was found [...,K]; NaN for a class without pictures."""
    matrix = np.asarray(confusion, np.float64)
    return _ratio(_diagonal(matrix), matrix.sum(-1))


def precision(confusion: npt.ArrayLike) -> np.ndarray:
    """Share of what was called a class that is of it [...,K]; NaN for a class never predicted."""
    matrix = np.asarray(confusion, np.float64)
    return _ratio(_diagonal(matrix), matrix.sum(-2))


def specificity(confusion: npt.ArrayLike) -> np.ndarray:
    """Share of the others' pictures not called this class [...,K]; NaN if there are no others."""
    matrix = np.asarray(confusion, np.float64)
    others = matrix.sum((-2, -1))[..., np.newaxis] - matrix.sum(-1)
    false_positives = matrix.sum(-2) - _diagonal(matrix)
    return _ratio(others - false_positives, others)


def f1(confusion: npt.ArrayLike) -> np.ndarray:
    """Harmonic mean of precision and recall, 2TP / (2TP + FP + FN) [...,K].

    0 for a class that is there and never found, predicted or not; NaN for a class without pictures,
    even if it was predicted (those errors lower the other classes' recall).
    """
    matrix = np.asarray(confusion, np.float64)
    support = matrix.sum(-1)
    scores = _ratio(2 * _diagonal(matrix), support + matrix.sum(-2))
    return np.where(support > 0, scores, np.nan)


def support(confusion: npt.ArrayLike) -> np.ndarray:
    """Number of pictures of each class, int64 [...,K]."""
    return np.asarray(confusion).sum(-1).astype(np.int64)


def balanced_accuracy(confusion: npt.ArrayLike) -> Figure:
    """Mean recall of the classes that have pictures, as scikit-learn's."""
    return _mean_of_defined(recall(confusion))


def f1_macro(confusion: npt.ArrayLike) -> Figure:
    """Mean F1 of the classes that have pictures.

    Equals scikit-learn's unless a class without pictures was predicted: scikit-learn then
    averages in a 0 for it.
    """
    return _mean_of_defined(f1(confusion))


def f1_weighted(confusion: npt.ArrayLike) -> Figure:
    """Mean F1 weighted by each class's pictures, as scikit-learn's; NaN without pictures."""
    pictures = np.asarray(confusion, np.float64).sum(-1)
    return _ratio(np.nansum(f1(confusion) * pictures, axis=-1), pictures.sum(-1))


def cohen_kappa(confusion: npt.ArrayLike) -> Figure:
    """Agreement beyond chance, in -1..1; NaN where chance alone would agree on every picture.

    Cohen, 1960, https://doi.org/10.1177/001316446002000104
    """
    matrix = np.asarray(confusion, np.float64)
    # Multiplied out by total squared: whole numbers, so that "undefined" is met exactly.
    by_chance = (matrix.sum(-2) * matrix.sum(-1)).sum(-1)
    total = matrix.sum((-2, -1))
    return _ratio(total * _diagonal(matrix).sum(-1) - by_chance, total**2 - by_chance)


def matthews(confusion: npt.ArrayLike) -> Figure:
    """Correlation of truth and prediction, in -1..1; NaN where either names one class only.

    Gorodkin, 2004, https://doi.org/10.1016/j.compbiolchem.2004.09.006
    """
    matrix = np.asarray(confusion, np.float64)
    total, predicted, true = matrix.sum((-2, -1)), matrix.sum(-2), matrix.sum(-1)
    covariance = total * _diagonal(matrix).sum(-1) - (predicted * true).sum(-1)
    uneven = [total**2 - (side * side).sum(-1) for side in (predicted, true)]
    return _ratio(covariance, np.sqrt(uneven[0]) * np.sqrt(uneven[1]))


def wilson_95(confusion: npt.ArrayLike) -> tuple[float, float]:
    """95 % interval of the accuracy, taking pictures as independent; NaN without pictures.

    Of one matrix. Pictures of one patient aren't independent: with several of each, the interval is
    too narrow. Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    matrix = np.asarray(confusion, np.float64)
    total, rate = matrix.sum(), accuracy(matrix)
    if total == 0:
        return math.nan, math.nan
    shrink = 1 + Z_95**2 / total
    centre = (rate + Z_95**2 / (2 * total)) / shrink
    half = Z_95 * math.sqrt(rate * (1 - rate) / total + (Z_95 / (2 * total)) ** 2) / shrink
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def negative_log_likelihood(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean of -log p(true class), in nats; NaN without pictures.

    A p below 2.2e-16 counts as 2.2e-16 (float64's epsilon, as scikit-learn), so that one picture
    adds at most 36.04. Labels int [N] in 0..K-1, probabilities [N,K].
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    of_truth = probabilities[np.arange(len(labels)), labels]
    losses = -np.log(np.clip(of_truth, np.finfo(np.float64).eps, 1.0))
    return float(_mean_of_defined(losses))


def roc_curve(
    positive: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False positive rates, true positive rates and thresholds, one point per distinct score.

    Starts at (0, 0) with threshold infinity; "positive" means score >= threshold. Rates are NaN
    where there is no picture to divide by. Both arguments [N], `positive` bool.
    """
    hits, false_alarms, thresholds = _counts_by_threshold(positive, scores)
    return _ratio(false_alarms, false_alarms[-1]), _ratio(hits, hits[-1]), thresholds


def precision_recall_curve(
    positive: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precisions, recalls and thresholds, one point per distinct score, the highest score first.

    "positive" means score >= threshold; recall is NaN without positives. There is no point of
    recall 0, whose precision nothing defines. Both arguments [N], `positive` bool.
    """
    hits, false_alarms, thresholds = _counts_by_threshold(positive, scores)
    called = hits + false_alarms
    return _ratio(hits, called)[1:], _ratio(hits, hits[-1])[1:], thresholds[1:]


def average_precision(positive: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the curve of precision over recall, by steps; NaN without positives.

    The sum over thresholds of (rise in recall) x precision, as scikit-learn's. Of scores that say
    nothing it is about the share of positives. Both arguments [N], `positive` bool.
    """
    precisions, recalls, _ = precision_recall_curve(positive, scores)
    return float(np.sum(np.diff(recalls, prepend=0) * precisions)) if len(recalls) else math.nan


def auroc(positive: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Chance that a positive scores above a negative, ties counting half; NaN with one kind only.

    Both arguments [N], `positive` bool. Hanley and McNeil, 1982,
    https://doi.org/10.1148/radiology.143.1.7063747
    """
    positive = np.asarray(positive, bool)
    _, inverse, counts = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives, negatives = float(positive.sum()), float((~positive).sum())
    wins = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(_ratio(wins, positives * negatives))


def auroc_per_class(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> np.ndarray:
    """Each class against the rest [K]; NaN for a class without pictures, or with all of them."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    return np.array([auroc(labels == k, column) for k, column in enumerate(probabilities.T)])


def auroc_macro(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean of `auroc_per_class`; NaN if any class's is (scikit-learn refuses to answer)."""
    return float(np.mean(auroc_per_class(labels, probabilities)))


def average_precision_per_class(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> np.ndarray:
    """Each class against the rest [K]; NaN for a class without pictures."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    columns = enumerate(probabilities.T)
    return np.array([average_precision(labels == k, column) for k, column in columns])


def average_precision_macro(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean of `average_precision_per_class`; NaN if any class's is."""
    return float(np.mean(average_precision_per_class(labels, probabilities)))


def _counts_by_threshold(
    positive: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, false positives and thresholds, falling from infinity over the scores."""
    positive, scores = np.asarray(positive, bool), np.asarray(scores, np.float64)
    order = np.argsort(-scores, kind="stable")
    positive, scores = positive[order], scores[order]
    last_of_tie = np.append(np.diff(scores) != 0, True)[: len(scores)]
    hits = np.append(0, np.cumsum(positive)[last_of_tie])
    false_alarms = np.append(0, np.cumsum(~positive)[last_of_tie])
    return hits, false_alarms, np.append(np.inf, scores[last_of_tie])


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Any:
    """Quotient, NaN where the denominator is 0; of two numbers a number."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    undefined = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator != 0)[()]


def _mean_of_defined(values: np.ndarray) -> Figure:
    """Mean over the last axis of what isn't NaN; NaN if nothing is left."""
    defined = ~np.isnan(values)
    return _ratio(values.sum(-1, where=defined), defined.sum(-1))
