import dataclasses
import math

import hypothesis
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import strategies

from jaxall import errors
from jaxall.evaluation import ensemble, predictions

CLASSES = ("Benign", "Early", "Pre")
COUNT = 40


def member(seed: int, skill: float = 1.0, count: int = COUNT) -> predictions.Predictions:
    """The same pictures and labels for every seed."""
    labels = np.random.default_rng(99).integers(0, 3, count)
    logits = np.random.default_rng(seed).normal(size=(count, 3)) + skill * np.eye(3)[labels]
    powers = np.exp(np.round(logits, 1))  # with ties
    return predictions.Predictions(
        names=tuple(f"{i}.jpg" for i in range(count)),
        subjects=tuple(f"S{i % 5}" for i in range(count)),
        labels=labels,
        probabilities=powers / powers.sum(1, keepdims=True),
        class_names=CLASSES,
    )


def reordered(made: predictions.Predictions, seed: int = 0) -> predictions.Predictions:
    order = np.random.default_rng(seed).permutation(len(made.names))
    return predictions.Predictions(
        names=tuple(made.names[i] for i in order),
        subjects=tuple(made.subjects[i] for i in order),
        labels=made.labels[order],
        probabilities=made.probabilities[order],
        class_names=made.class_names,
    )


MEMBERS = [member(seed) for seed in range(4)]
STACKED = np.stack([one.probabilities for one in MEMBERS])


@pytest.mark.parametrize("by", ensemble.BY)
def test_an_ensemble_of_one_predicts_as_it_does(by: str):
    one = MEMBERS[0]
    found = ensemble.combine([one], by, [one])
    np.testing.assert_array_equal(found.predicted, one.predicted)
    if by != "vote":
        np.testing.assert_allclose(found.probabilities, one.probabilities, rtol=0, atol=1e-12)
    assert (found.names, found.subjects) == (one.names, one.subjects)
    np.testing.assert_array_equal(found.labels, one.labels)


@pytest.mark.parametrize("by", ensemble.BY)
def test_the_order_of_a_members_pictures_does_not_matter(by: str):
    mixed = [MEMBERS[0], *(reordered(one, i) for i, one in enumerate(MEMBERS[1:]))]
    wanted = ensemble.combine(MEMBERS, by, MEMBERS)
    found = ensemble.combine(mixed, by, mixed)
    assert found.names == wanted.names
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, rtol=0, atol=1e-15)


def test_the_mean_is_that_of_the_probabilities():
    found = ensemble.combine(MEMBERS, "mean").probabilities
    np.testing.assert_allclose(found, sum(STACKED) / 4, rtol=0, atol=1e-15)


def test_the_mean_of_logits_is_the_geometric_mean():
    found = ensemble.combine(MEMBERS, "logits").probabilities
    products = np.prod(STACKED, axis=0) ** (1 / 4)
    np.testing.assert_allclose(found, products / products.sum(1, keepdims=True), atol=1e-12)


def test_a_probability_of_zero_has_a_logarithm_too():
    certain = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]]])
    np.testing.assert_allclose(ensemble.logits(certain), [[1, 0]], atol=1e-12)
    np.testing.assert_allclose(ensemble.logits(certain[:2]), [[0.5, 0.5]])


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    count=strategies.integers(1, 6), classes=strategies.integers(2, 4), seed=strategies.integers(0)
)
def test_the_vote_goes_to_the_majority_and_equal_votes_to_the_likelier(
    count: int, classes: int, seed: int
):
    stacked = np.random.default_rng(seed).dirichlet(np.ones(classes), (count, 5))
    found = ensemble.vote(stacked)
    np.testing.assert_allclose(found.sum(1), 1)
    for picture in range(5):
        votes = [list(stacked[:, picture].argmax(1)).count(k) for k in range(classes)]
        means = stacked[:, picture].mean(0)
        wanted = max(range(classes), key=lambda k: (votes[k], means[k]))
        assert found[picture].argmax() == wanted


def test_kappa_weighs_each_member_by_its_own_validation():
    validation = [member(seed, skill, 30) for seed, skill in enumerate((2.0, 0.5, -2.0, 1.0))]
    kappas = [sklearn.metrics.cohen_kappa_score(one.labels, one.predicted) for one in validation]
    assert kappas[2] < 0 < kappas[1]
    weights = np.maximum(kappas, 0) / np.maximum(kappas, 0).sum()
    np.testing.assert_allclose(ensemble.kappa_weights(validation), weights, atol=1e-12)
    found = ensemble.combine(MEMBERS, "kappa", validation).probabilities
    wanted = sum(weight * one for weight, one in zip(weights, STACKED, strict=True))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


def test_weights_that_do_not_quite_add_up_leave_certainty_a_probability():
    sure = dataclasses.replace(MEMBERS[0], probabilities=np.eye(3)[MEMBERS[0].labels])
    for count in range(2, 12):
        validation = [member(seed, 2.0) for seed in range(count)]
        found = ensemble.combine([sure] * count, "kappa", validation)
        assert found.probabilities.max() <= 1


def test_a_subject_that_one_member_knows_is_known():
    unnamed = dataclasses.replace(MEMBERS[0], subjects=())
    partly = dataclasses.replace(MEMBERS[1], subjects=("", *MEMBERS[1].subjects[1:]))
    found = ensemble.combine([unnamed, partly, reordered(MEMBERS[2])], "mean")
    assert found.subjects == MEMBERS[2].subjects


def test_an_undefined_kappa_weighs_nothing():
    one_class = dataclasses.replace(
        MEMBERS[0],
        labels=np.zeros(COUNT, int),
        probabilities=np.tile(np.eye(3)[0], (COUNT, 1)),
    )
    assert math.isnan(ensemble._kappa(one_class))
    np.testing.assert_array_equal(ensemble.kappa_weights([one_class, MEMBERS[0]]), [0, 1])


def test_an_ensemble_of_members_no_better_than_chance_is_refused():
    worse = member(0, -3.0)
    with pytest.raises(
        errors.UserError, match=r"wanted a kappa above 0, got -0\.\d{4}, -0\.\d{4}$"
    ):
        ensemble.combine(MEMBERS[:2], "kappa", [worse, worse])


def test_members_that_do_not_agree_are_listed_all_at_once():
    good = MEMBERS[0]
    other_classes = dataclasses.replace(good, class_names=("Benign", "Pre", "Early"))
    other_pictures = dataclasses.replace(good, names=("new.jpg", *good.names[1:]))
    other_labels = dataclasses.replace(good, labels=(good.labels + 1) % 3)
    other_subjects = dataclasses.replace(good, subjects=("S9", *good.subjects[1:]))
    fewer = member(0, count=COUNT - 1)
    members = [good, other_classes, other_pictures, reordered(other_labels), other_subjects, fewer]
    with pytest.raises(errors.UserError) as caught:
        ensemble.combine(members, "mean")
    wanted = [
        "member 2: classes ('Benign', 'Pre', 'Early'), not ('Benign', 'Early', 'Pre')",
        "member 3: lacks 1 pictures: 0.jpg; has other 1 pictures: new.jpg",
        "member 4: other labels of 40 pictures: 0.jpg, 1.jpg, 10.jpg",
        "member 5: other subjects of 1 pictures: 0.jpg",
        "member 6: lacks 1 pictures: 39.jpg",
    ]
    assert list(caught.value.details) == wanted
    assert str(caught.value) == (
        "an ensemble's members predict the same pictures; 5 of 6 don't agree with the first, "
        f"{wanted[0]}"
    )


def test_pictures_of_one_name_are_kept_apart_by_their_order():
    one = dataclasses.replace(MEMBERS[0], names=("a.jpg",) * COUNT)
    found = ensemble.combine([one, one], "mean")
    np.testing.assert_allclose(found.probabilities, one.probabilities, rtol=0, atol=1e-15)


def test_the_best_models_on_validation_are_selected():
    validation = [member(seed, skill) for seed, skill in enumerate((0.5, 3.0, -2.0, 1.5))]
    kappas = [sklearn.metrics.cohen_kappa_score(one.labels, one.predicted) for one in validation]
    assert kappas[1] > kappas[3] > kappas[0] > 0 > kappas[2]
    assert ensemble.select(validation) == [1, 3, 0]
    assert ensemble.select(validation, most=2) == [1, 3]
    wanted = rf"wanted a kappa of 0 or more, got {kappas[2]:.4f}$"
    with pytest.raises(errors.UserError, match=wanted):
        ensemble.select([validation[2]])
    with pytest.raises(errors.UserError, match="got no models"):
        ensemble.select([])


def test_of_equal_models_the_first_is_selected():
    assert ensemble.select([MEMBERS[0], MEMBERS[0]], most=1) == [0]


@pytest.mark.parametrize(
    ("members", "by", "validation", "message"),
    [
        ([], "mean", [], "got 0 and 'mean'"),
        (MEMBERS, "median", [], "got 4 and 'median'"),
        (MEMBERS, "kappa", MEMBERS[:1], "validation prediction of each member, got 1 for 4"),
    ],
)
def test_what_is_no_ensemble_is_refused(members, by, validation, message):
    with pytest.raises(ValueError, match=message):
        ensemble.combine(members, by, validation)
