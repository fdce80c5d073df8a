"""95 % intervals of scores by the bootstrap over subjects, not over pictures.

Pictures of one patient are alike: a hundred cells of one slide say little more of other patients
than ten do. So whole subjects are drawn with replacement, as many as there are, each with all its
pictures; the interval is from the 2.5th to the 97.5th percentile of the scores of many such draws.
Field and Welsh, 2007, https://doi.org/10.1111/j.1467-9868.2007.00593.x
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxall.evaluation import metrics, scores
from jaxall.evaluation.predictions import Predictions

REPLICATES = 2000
FEW = 20  # units below which percentiles of a bootstrap reach too short
PERCENTILES = (2.5, 97.5)
AT_ONCE = 100  # replicates; bounds the memory to so many numbers a picture
ROUNDING = 1e-9  # what a score's replicates may differ by and still be equal
LEAST_DEFINED = 0.5  # share of the replicates below which a score has no interval


def of(
    predictions: Predictions,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Any]:
    """Intervals of the labelled pictures' scores; the same seed gives the same numbers.

    A replicate without a picture of a class that the whole has doesn't count but for the accuracy:
    the other scores would be over fewer classes, and easier. Nor does one count for a score that it
    leaves undefined. The interval is NaN where fewer than half count, and with a single unit; and
    where all replicates are equal, which says that there are too few units, not that the score is
    certain. An accuracy of 0 or 1 over subjects then has Clopper and Pearson's, as if a subject
    were one picture: at least as wide as it should be.

    Args:
        predictions: a picture whose subject is unknown counts as a subject of its own; where none
            is known, pictures are drawn, and the accuracy's interval is Wilson's.
        replicates: number of draws.
        seed: of their generator.

    Returns:
        "unit" ("subjects" or "pictures"), "units" (their number), "replicates", and "bounds": name
        of the score -> [low, high], of those in `scores.by_confusion` and of "auroc".
    """
    known = predictions.labels >= 0
    labels, probabilities = predictions.labels[known], predictions.probabilities[known]
    subjects = [
        name for name, is_known in zip(predictions.subjects, known, strict=True) if is_known
    ]
    units = units_of(subjects)
    count = int(units.max(initial=-1)) + 1
    generator = np.random.default_rng(seed)
    parts = [
        replicate(labels, probabilities, units, draw(generator, count, rows))
        for rows in [min(AT_ONCE, replicates - i) for i in range(0, replicates, AT_ONCE)]
        if count > 1
    ]
    names = [*scores.by_confusion(probabilities.shape[1]), "auroc"]
    bounds = {name: _percentiles([part[name] for part in parts]) for name in names}
    is_known = any(subjects)
    if count > 1:
        confusion = predictions.confusion()
        if not is_known:
            bounds["accuracy"] = list(metrics.wilson_95(confusion))
        elif (accuracy := metrics.accuracy(confusion)) in (0, 1):
            bounds["accuracy"] = _of_extreme(accuracy, count)
    return {
        "unit": "subjects" if is_known else "pictures",
        "units": count,
        "replicates": replicates,
        "bounds": bounds,
    }


def of_saved(scores: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those in a scores.json, as `of` made them; an older one has the accuracy's alone."""
    return scores.get("intervals_95") or {
        "unit": "pictures",
        "units": scores["examples"],
        "bounds": {"accuracy": scores["wilson_95"]},
    }


def units_of(subjects: list[str]) -> np.ndarray:
    """Each picture's unit, int64 [N] in 0..U-1: its subject, or itself where that is unknown."""
    numbers: dict[object, int] = {}
    keys = [name or index for index, name in enumerate(subjects)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def draw(generator: np.random.Generator, units: int, replicates: int) -> np.ndarray:
    """How often each of U units is drawn in U draws with replacement, float64 [R,U]."""
    drawn = generator.integers(0, units, (replicates, units))
    cells = (drawn + units * np.arange(replicates)[:, np.newaxis]).ravel()
    return np.bincount(cells, minlength=replicates * units).reshape(-1, units).astype(np.float64)


def replicate(
    labels: np.ndarray, probabilities: np.ndarray, units: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Each score of R draws [R], in which unit u is there `counts[r, u]` times.

    Where a class of `labels` isn't drawn, all but the accuracy are NaN. Labels int [N] in 0..K-1,
    probabilities [N,K], units int [N] in 0..U-1, counts [R,U].
    """
    classes = probabilities.shape[1]
    cells = labels * classes + probabilities.argmax(1)
    of_unit = np.zeros((counts.shape[1], classes**2))
    np.add.at(of_unit, (units, cells), 1)
    confusion = (counts @ of_unit).reshape(-1, classes, classes)
    found = {name: figure(confusion) for name, figure in scores.by_confusion(classes).items()}
    weights = counts[:, units]
    areas = [_auroc(labels == k, column, weights) for k, column in enumerate(probabilities.T)]
    found["auroc"] = np.mean(areas, axis=0)
    is_whole = (confusion.sum(-1) > 0)[:, np.unique(labels)].all(1)
    return {
        name: values if name == "accuracy" else np.where(is_whole, values, np.nan)
        for name, values in found.items()
    }


def _auroc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`metrics.auroc` of R weighted copies [R] of the pictures; weights [R,N]."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    weights, positive = weights[:, order], positive[order]
    positives = np.add.reduceat(weights * positive, starts, axis=1)
    negatives = np.add.reduceat(weights * ~positive, starts, axis=1)
    wins = (positives * (np.cumsum(negatives, 1) - negatives / 2)).sum(1)
    pairs = positives.sum(1) * negatives.sum(1)
    return np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _percentiles(parts: list[np.ndarray]) -> list[float]:
    values = np.concatenate([*parts, np.zeros(0)])
    defined = values[~np.isnan(values)]
    if len(defined) == 0 or len(defined) < LEAST_DEFINED * len(values):
        return [float("nan"), float("nan")]
    low, high = np.percentile(defined, PERCENTILES).tolist()
    return [low, high] if high - low > ROUNDING else [float("nan"), float("nan")]


def _of_extreme(share: float, units: int) -> list[float]:
    """Of a share of 0 or 1 of so many; Clopper and Pearson, 1934, doi:10.1093/biomet/26.4.404."""
    width = 1 - (PERCENTILES[0] / 100) ** (1 / units)
    return [1 - width, 1.0] if share else [0.0, width]
