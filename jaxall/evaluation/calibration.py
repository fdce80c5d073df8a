"""Whether probabilities mean what they say: of pictures called with 80 %, 80 % should be right."""

import dataclasses

import numpy as np
import numpy.typing as npt

BINS = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bins:
    """Pictures by the probability of the class that they were called, in bins of equal width.

    Attributes:
        count: int64 [B], pictures of each bin.
        confidence: float64 [B], their mean probability; NaN in an empty bin.
        accuracy: float64 [B], the share that was right; NaN in an empty bin.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def bins(labels: npt.ArrayLike, probabilities: npt.ArrayLike, count: int = BINS) -> Bins:
    """Bins (i/count, (i+1)/count] of labels int [N] and probabilities [N,K]."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    confidence, is_right = probabilities.max(1), probabilities.argmax(1) == labels
    place = np.clip(np.ceil(confidence * count).astype(np.int64) - 1, 0, count - 1)
    total = np.bincount(place, minlength=count)
    with np.errstate(invalid="ignore"):  # an empty bin is 0 / 0
        return Bins(
            count=total,
            confidence=np.bincount(place, confidence, count) / total,
            accuracy=np.bincount(place, is_right, count) / total,
        )


def expected_error(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean distance of confidence and accuracy over `BINS` bins, by pictures; NaN without pictures.

    The expected calibration error of the likeliest class, in 0..1. Guo et al., 2017,
    https://arxiv.org/abs/1706.04599
    """
    found = bins(labels, probabilities)
    there = found.count > 0
    if not there.any():
        return float("nan")
    distance = np.abs(found.confidence - found.accuracy)[there]
    return float(np.average(distance, weights=found.count[there]))


def brier(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean squared distance of the probabilities from the truth; NaN without pictures.

    Summed over the classes, in 0..2; of two classes the half of it, in 0..1, as scikit-learn's and
    as is usual. Brier, 1950,
    https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2
    """
    labels, probabilities = np.asarray(labels, np.int64), np.asarray(probabilities, np.float64)
    if len(labels) == 0:
        return float("nan")
    classes = probabilities.shape[1]
    squares = np.square(probabilities - np.eye(classes)[labels]).sum(1)
    return float(squares.mean() / (2 if classes == 2 else 1))
