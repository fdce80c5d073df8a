import math
import warnings
from collections.abc import Callable, Iterator

import hypothesis
import hypothesis.extra.numpy as hypothesis_numpy
import numpy as np
import pytest
import scipy.stats
import sklearn
import sklearn.metrics
from hypothesis import strategies

from jaxall.evaluation import metrics

CASES = 1000

MATRICES = strategies.integers(2, 6).flatmap(
    lambda k: hypothesis_numpy.arrays(np.int64, (k, k), elements=strategies.integers(0, 50))
)


def random_cases(count: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Labels, predictions, probabilities: few or many pictures, absent classes, ties in scores."""
    generator = np.random.default_rng(seed)
    for case in range(count):
        k = int(generator.integers(2, 7))
        n = 1 if case % 20 == 0 else int(generator.integers(1, 80))
        there = generator.permutation(k)[: generator.integers(1, k + 1)]
        labels = generator.choice(there, n)
        logits = generator.normal(size=(n, k)) + generator.uniform(0, 3) * np.eye(k)[labels]
        if case % 3 == 0:
            logits = np.round(logits)
        probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        yield labels, probabilities.argmax(1), probabilities


@pytest.fixture(autouse=True)
def quick_scikit_learn() -> Iterator[None]:
    with sklearn.config_context(skip_parameter_validation=True, assume_finite=True):
        yield


def by_scikit_learn(function: Callable, *args: object, **kwargs: object) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of each undefined figure
        return function(*args, **kwargs)


def test_scores_of_a_confusion_matrix_agree_with_scikit_learn_on_random_cases():
    with_every_class = 0
    for labels, predicted, probabilities in random_cases(CASES, seed=1):
        k = probabilities.shape[1]
        matrix = metrics.confusion(labels, predicted, k)
        np.testing.assert_array_equal(
            matrix, sklearn.metrics.confusion_matrix(labels, predicted, labels=range(k))
        )
        assert metrics.accuracy(matrix) == pytest.approx(
            sklearn.metrics.accuracy_score(labels, predicted), abs=1e-12
        )
        assert metrics.balanced_accuracy(matrix) == pytest.approx(
            by_scikit_learn(sklearn.metrics.balanced_accuracy_score, labels, predicted), abs=1e-12
        )
        assert metrics.f1_weighted(matrix) == pytest.approx(
            sklearn.metrics.f1_score(labels, predicted, average="weighted"), abs=1e-12
        )
        if set(predicted) <= set(labels):
            assert metrics.f1_macro(matrix) == pytest.approx(
                sklearn.metrics.f1_score(labels, predicted, average="macro"), abs=1e-12
            )
        with_every_class += len(set(labels)) == k
    assert with_every_class > 20


def test_scores_of_each_class_agree_with_scikit_learn_where_they_are_defined():
    for labels, predicted, probabilities in random_cases(CASES, seed=2):
        k = probabilities.shape[1]
        matrix = metrics.confusion(labels, predicted, k)
        precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(
            labels, predicted, labels=range(k), zero_division=np.nan
        )
        np.testing.assert_allclose(metrics.precision(matrix), precision, atol=1e-12)
        np.testing.assert_allclose(metrics.recall(matrix), recall, atol=1e-12)
        np.testing.assert_array_equal(metrics.support(matrix), support)
        there = support > 0
        np.testing.assert_allclose(metrics.f1(matrix)[there], f1[there], atol=1e-12)
        assert np.isnan(metrics.f1(matrix)[~there]).all()
        (tn, fp), _ = sklearn.metrics.multilabel_confusion_matrix(
            labels, predicted, labels=range(k)
        ).transpose(1, 2, 0)
        others = tn + fp > 0
        specificity = metrics.specificity(matrix)
        np.testing.assert_allclose(specificity[others], (tn / np.maximum(tn + fp, 1))[others])
        assert np.isnan(specificity[~others]).all()


def test_kappa_and_matthews_agree_with_scikit_learn_where_they_are_defined():
    undefined = 0
    for labels, predicted, probabilities in random_cases(CASES, seed=3):
        matrix = metrics.confusion(labels, predicted, probabilities.shape[1])
        one_class = len(set(labels)) == 1 or len(set(predicted)) == 1
        matthews = metrics.matthews(matrix)
        if one_class:
            assert math.isnan(matthews)
        else:
            theirs = sklearn.metrics.matthews_corrcoef(labels, predicted)
            assert matthews == pytest.approx(theirs, abs=1e-12)
        kappa = metrics.cohen_kappa(matrix)
        if len({*labels, *predicted}) == 1:
            undefined += 1
            assert math.isnan(kappa)
        else:
            theirs = sklearn.metrics.cohen_kappa_score(labels, predicted)
            assert kappa == pytest.approx(theirs, abs=1e-12)
    assert undefined > 3


def test_roc_and_its_area_agree_with_scikit_learn_with_ties_and_absent_classes():
    for labels, _, probabilities in random_cases(CASES, seed=4):
        k = len(labels) % probabilities.shape[1]  # one class of each case: scikit-learn is slow
        positive, scores = labels == k, probabilities[:, k]
        theirs = by_scikit_learn(
            sklearn.metrics.roc_curve, positive, scores, drop_intermediate=False
        )
        for mine, their in zip(metrics.roc_curve(positive, scores), theirs, strict=True):
            np.testing.assert_allclose(mine, their, atol=1e-12)
        area = metrics.auroc_per_class(labels, probabilities)[k]
        if positive.any() and not positive.all():
            theirs = sklearn.metrics.roc_auc_score(positive, scores)
            assert area == pytest.approx(theirs, abs=1e-12)
        else:
            assert math.isnan(area)
        if len(set(labels)) == probabilities.shape[1] > 2:
            macro = sklearn.metrics.roc_auc_score(labels, probabilities, multi_class="ovr")
            assert metrics.auroc_macro(labels, probabilities) == pytest.approx(macro, abs=1e-12)
        elif len(set(labels)) < probabilities.shape[1]:
            assert math.isnan(metrics.auroc_macro(labels, probabilities))


def test_precision_over_recall_agrees_with_scikit_learn_with_ties_and_absent_classes():
    absent = 0
    for labels, _, probabilities in random_cases(CASES, seed=6):
        k = len(labels) % probabilities.shape[1]  # one class of each case: scikit-learn is slow
        positive, scores = labels == k, probabilities[:, k]
        precisions, recalls, thresholds = metrics.precision_recall_curve(positive, scores)
        areas = metrics.average_precision_per_class(labels, probabilities)
        if not positive.any():
            absent += 1
            assert np.isnan(recalls).all()
            assert math.isnan(areas[k])
            assert math.isnan(metrics.average_precision_macro(labels, probabilities))
            continue
        their = sklearn.metrics.precision_recall_curve(positive, scores)
        np.testing.assert_allclose(precisions[::-1], their[0][:-1], atol=1e-12)
        np.testing.assert_allclose(recalls[::-1], their[1][:-1], atol=1e-12)
        np.testing.assert_array_equal(thresholds[::-1], their[2])
        area = sklearn.metrics.average_precision_score(positive, scores)
        assert areas[k] == pytest.approx(area, abs=1e-12)
        if len(set(labels)) == probabilities.shape[1] > 2:
            macro = sklearn.metrics.average_precision_score(labels, probabilities)
            mine = metrics.average_precision_macro(labels, probabilities)
            assert mine == pytest.approx(macro, abs=1e-12)
    assert absent > 20


def test_a_stack_of_matrices_gives_each_its_own_figures():
    stack = np.random.default_rng(0).integers(0, 4, (2, 30, 3, 3))
    stack[0, 0], stack[0, 1, 2], stack[0, 2, :, 1:] = 0, 0, 0
    functions = (
        metrics.accuracy,
        metrics.recall,
        metrics.precision,
        metrics.specificity,
        metrics.f1,
        metrics.support,
        metrics.balanced_accuracy,
        metrics.f1_macro,
        metrics.f1_weighted,
        metrics.cohen_kappa,
        metrics.matthews,
    )
    for function in functions:
        together = function(stack)
        for place in np.ndindex(2, 30):
            np.testing.assert_allclose(together[place], function(stack[place]), rtol=1e-12)


def test_loss_agrees_with_scikit_learn_and_stays_finite_at_probability_zero():
    for labels, _, probabilities in random_cases(CASES, seed=5):
        k = probabilities.shape[1]
        theirs = sklearn.metrics.log_loss(labels, probabilities, labels=range(k))
        mine = metrics.negative_log_likelihood(labels, probabilities)
        assert mine == pytest.approx(theirs, abs=1e-12)
    certain = np.array([[1.0, 0.0]])
    assert metrics.negative_log_likelihood([0], certain) == 0
    assert metrics.negative_log_likelihood([1], certain) == pytest.approx(36.0437, abs=1e-4)


def test_figures_worked_out_by_hand():
    matrix = np.array([[8, 2, 0], [1, 5, 4], [0, 0, 0]])  # the third class: absent, predicted 4 x
    nan = math.nan
    assert metrics.accuracy(matrix) == 13 / 20
    np.testing.assert_allclose(metrics.recall(matrix), [8 / 10, 5 / 10, nan])
    np.testing.assert_allclose(metrics.precision(matrix), [8 / 9, 5 / 7, 0])
    np.testing.assert_allclose(metrics.specificity(matrix), [9 / 10, 8 / 10, 16 / 20])
    np.testing.assert_allclose(metrics.f1(matrix), [16 / 19, 10 / 17, nan])
    assert metrics.balanced_accuracy(matrix) == pytest.approx(0.65)
    assert metrics.f1_macro(matrix) == pytest.approx((16 / 19 + 10 / 17) / 2)
    assert metrics.f1_weighted(matrix) == pytest.approx((16 / 19 + 10 / 17) / 2)
    by_chance = (10 * 9 + 10 * 7) / 20**2
    assert metrics.cohen_kappa(matrix) == pytest.approx((0.65 - by_chance) / (1 - by_chance))
    positive, scores = [True, True, False, False], [0.9, 0.5, 0.5, 0.1]
    assert metrics.auroc(positive, scores) == 3.5 / 4
    assert metrics.auroc(positive, [1, 1, 1, 1]) == 0.5


def test_a_class_never_predicted_has_no_precision_but_an_f1_of_zero():
    matrix = np.array([[3, 0], [2, 0]])
    np.testing.assert_array_equal(metrics.precision(matrix), [0.6, np.nan])
    np.testing.assert_array_equal(metrics.f1(matrix), [0.75, 0.0])
    assert metrics.f1_macro(matrix) == 0.375


def test_scikit_learn_counts_a_zero_for_an_absent_class_once_it_is_predicted_and_we_do_not():
    labels, predicted = [0, 0, 1, 1], [0, 0, 1, 2]
    f1 = np.array([1, 2 / 3])
    assert metrics.f1_macro(metrics.confusion(labels, predicted, 3)) == pytest.approx(f1.mean())
    theirs = by_scikit_learn(sklearn.metrics.f1_score, labels, predicted, average="macro")
    assert theirs == pytest.approx(f1.sum() / 3)


def test_everything_is_nan_without_pictures():
    empty, none = np.zeros((3, 3), np.int64), np.zeros(0, np.int64)
    overall = (
        metrics.accuracy,
        metrics.balanced_accuracy,
        metrics.f1_macro,
        metrics.f1_weighted,
        metrics.cohen_kappa,
        metrics.matthews,
    )
    assert all(math.isnan(function(empty)) for function in overall)
    for function in (metrics.precision, metrics.recall, metrics.specificity, metrics.f1):
        assert np.isnan(function(empty)).all()
    assert all(math.isnan(bound) for bound in metrics.wilson_95(empty))
    assert math.isnan(metrics.negative_log_likelihood(none, np.zeros((0, 3))))
    assert math.isnan(metrics.auroc(none, np.zeros(0)))
    assert math.isnan(metrics.average_precision(none, np.zeros(0)))
    assert [len(part) for part in metrics.precision_recall_curve(none, np.zeros(0))] == [0, 0, 0]
    assert [len(part) for part in metrics.roc_curve(none, np.zeros(0))] == [1, 1, 1]


def test_negative_labels_are_left_out_of_the_confusion_matrix():
    assert metrics.confusion([-1, 0, 1, -1], [0, 0, 0, 1], 2).tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize(("right", "total"), [(0, 1), (1, 1), (0, 30), (30, 30), (97, 100)])
def test_the_interval_of_accuracy_is_wilsons(right: int, total: int):
    theirs = scipy.stats.binomtest(right, total).proportion_ci(method="wilson")
    mine = metrics.wilson_95([[right, total - right], [0, 0]])
    assert mine == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True, database=None)
@hypothesis.given(MATRICES)
def test_scores_keep_their_range_and_do_not_depend_on_the_order_of_classes(matrix: np.ndarray):
    order = np.arange(len(matrix))[::-1]
    turned = matrix[np.ix_(order, order)]
    low, high = metrics.wilson_95(matrix)
    accuracy = metrics.accuracy(matrix)
    assert math.isnan(accuracy) or 0 <= low <= accuracy + 1e-12 <= high + 2e-12 <= 1 + 2e-12
    for overall in (metrics.accuracy, metrics.balanced_accuracy, metrics.f1_macro):
        value = overall(matrix)
        assert math.isnan(value) or 0 <= value <= 1 + 1e-12
        assert value == pytest.approx(overall(turned), nan_ok=True)
    for agreement in (metrics.cohen_kappa, metrics.matthews):
        value = agreement(matrix)
        assert math.isnan(value) or -1 - 1e-12 <= value <= 1 + 1e-12
        assert value == pytest.approx(agreement(turned), nan_ok=True)
    for of_class in (metrics.precision, metrics.recall, metrics.specificity, metrics.f1):
        np.testing.assert_array_equal(of_class(matrix)[order], of_class(turned))


def test_large_counts_do_not_overflow():
    matrix = np.array([[900_000, 100_000], [100_000, 900_000]], np.int32)
    assert metrics.cohen_kappa(matrix) == pytest.approx(0.8)
    assert metrics.matthews(matrix) == pytest.approx(0.8)
