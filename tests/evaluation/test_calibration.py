import math

import numpy as np
import pytest
import sklearn.metrics

from jaxall.evaluation import calibration


def some(classes: int, count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    logits = generator.normal(size=(count, classes)) + 2 * np.eye(classes)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_brier_score_is_scikit_learns(classes: int):
    labels, probabilities = some(classes)
    theirs = sklearn.metrics.brier_score_loss(
        labels, probabilities[:, 1] if classes == 2 else probabilities
    )
    assert calibration.brier(labels, probabilities) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_calibration_error_is_that_of_a_plain_loop(classes: int):
    labels, probabilities = some(classes)
    bins: dict[int, list[tuple[float, bool]]] = {}
    for label, row in zip(labels, probabilities, strict=True):
        (bin_,) = [b for b in range(15) if b / 15 < row.max() <= (b + 1) / 15]
        bins.setdefault(bin_, []).append((row.max(), row.argmax() == label))
    error = 0.0
    for pictures in bins.values():
        confidence, accuracy = np.mean(pictures, axis=0)
        error += len(pictures) / len(labels) * abs(confidence - accuracy)
    assert calibration.expected_error(labels, probabilities) == pytest.approx(error, abs=1e-12)
    found = calibration.bins(labels, probabilities)
    assert found.count.tolist() == [len(bins.get(b, ())) for b in range(15)]
    assert np.isnan(found.accuracy).tolist() == [b not in bins for b in range(15)]


def test_certainty_that_is_right_has_no_error_and_certainty_that_is_wrong_the_largest():
    certain = np.array([[1.0, 0.0]] * 4)
    assert calibration.expected_error([0, 0, 0, 0], certain) == 0
    assert calibration.expected_error([1, 1, 1, 1], certain) == 1
    assert calibration.brier([1, 1, 1, 1], certain) == 1
    assert calibration.expected_error([0, 1, 0, 1], np.full((4, 2), 0.5)) == 0


def test_without_pictures_nothing_is_known():
    assert math.isnan(calibration.brier([], np.zeros((0, 2))))
    assert math.isnan(calibration.expected_error([], np.zeros((0, 2))))
