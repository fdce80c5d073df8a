import math
import time

import hypothesis
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies

from jaxall.evaluation import intervals, metrics, predictions, scores

SUBJECTS = 9


def some(
    classes: int = 2, count: int = 60, subjects: int = SUBJECTS, seed: int = 0, skill: float = 1.0
) -> predictions.Predictions:
    """Every subject is of one class, and some are harder than others; `subjects` 0: unknown."""
    generator = np.random.default_rng(seed)
    subject = generator.integers(0, subjects or count, count)
    labels = subject % classes
    hardness = generator.uniform(-1, 3, subjects or count)[subject, np.newaxis]
    logits = generator.normal(size=(count, classes)) + skill * hardness * np.eye(classes)[labels]
    if seed % 3 == 0:
        logits = np.round(logits)  # ties
    powers = np.exp(logits)
    return predictions.Predictions(
        names=tuple(map(str, range(count))),
        subjects=tuple(map(str, subject)) if subjects else (),
        labels=labels,
        probabilities=powers / powers.sum(1, keepdims=True),
        class_names=tuple("abcdef"[:classes]),
    )


def slowly(made: predictions.Predictions, counts: np.ndarray) -> list[dict[str, float]]:
    """Scores of pictures that are really there as often as their subject was drawn.

    Where none of a class is there, only the accuracy is the whole's.
    """
    units = intervals.units_of(list(made.subjects))
    found = []
    for times in counts.astype(int):
        rows = np.repeat(np.arange(len(units)), times[units])
        labels, probabilities = made.labels[rows], made.probabilities[rows]
        k = len(made.class_names)
        matrix = metrics.confusion(labels, probabilities.argmax(1), k)
        figures = {name: float(of(matrix)) for name, of in scores.by_confusion(k).items()}
        figures["auroc"] = metrics.auroc_macro(labels, probabilities)
        if set(labels) != set(made.labels):
            figures |= {name: math.nan for name in figures if name != "accuracy"}
        found.append(figures)
    return found


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    classes=strategies.integers(2, 4),
    count=strategies.integers(1, 50),
    subjects=strategies.integers(0, 12),
    seed=strategies.integers(0, 999),
)
def test_all_draws_at_once_are_those_of_a_plain_loop(
    classes: int, count: int, subjects: int, seed: int
):
    made = some(classes, count, subjects, seed)
    units = intervals.units_of(list(made.subjects))
    counts = intervals.draw(np.random.default_rng(seed), units.max() + 1, 20)
    assert (counts.sum(1) == units.max() + 1).all()
    quick = intervals.replicate(made.labels, made.probabilities, units, counts)
    for row, wanted in enumerate(slowly(made, counts)):
        for name, value in wanted.items():
            assert quick[name][row] == pytest.approx(value, abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize("subjects", [SUBJECTS, 0])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_interval_is_between_percentiles_of_a_plain_loop(classes: int, subjects: int):
    made = some(classes, subjects=subjects, skill=0.7)
    found = intervals.of(made, replicates=300, seed=5)
    units = intervals.units_of(list(made.subjects))
    generator = np.random.default_rng(5)
    counts = [intervals.draw(generator, units.max() + 1, 100) for _ in range(3)]
    replicates = slowly(made, np.concatenate(counts))
    assert set(found["bounds"]) == set(replicates[0])
    for name, bounds in found["bounds"].items():
        values = [scores[name] for scores in replicates if not math.isnan(scores[name])]
        wanted = np.percentile(values, [2.5, 97.5])
        if name == "accuracy" and not subjects:
            wanted = metrics.wilson_95(made.confusion())
        assert bounds == pytest.approx(list(wanted), abs=1e-12), name


def test_pictures_of_one_subject_say_less_than_pictures_of_many():
    made = some(count=1500, subjects=15)
    alone = predictions.Predictions(
        names=made.names,
        labels=made.labels,
        probabilities=made.probabilities,
        class_names=made.class_names,
    )
    by_subject, by_picture = intervals.of(made), intervals.of(alone)
    assert (by_subject["unit"], by_subject["units"]) == ("subjects", 15)
    assert (by_picture["unit"], by_picture["units"]) == ("pictures", 1500)
    for name, (low, high) in by_picture["bounds"].items():
        wide = by_subject["bounds"][name]
        assert wide[1] - wide[0] > 2 * (high - low), name
    assert by_picture["bounds"]["accuracy"] == list(metrics.wilson_95(made.confusion()))


def test_a_subject_of_its_own_for_every_picture_is_the_bootstrap_over_pictures():
    made = some(subjects=0)
    named = predictions.Predictions(
        names=made.names,
        subjects=tuple(f"S{i}" for i in range(60)),
        labels=made.labels,
        probabilities=made.probabilities,
        class_names=made.class_names,
    )
    one, other = intervals.of(named)["bounds"], intervals.of(made)["bounds"]
    assert {name: one[name] for name in one if name != "accuracy"} == {
        name: other[name] for name in other if name != "accuracy"
    }
    # Wilson's and the bootstrap's intervals of one share are much the same
    assert one["accuracy"] == pytest.approx(other["accuracy"], abs=0.03)


def test_a_picture_of_an_unknown_subject_is_a_subject_of_its_own():
    assert intervals.units_of(["b", "", "a", "", "b"]).tolist() == [0, 1, 2, 3, 0]


def test_one_subject_has_no_interval():
    made = some(subjects=1)
    found = intervals.of(made)
    assert (found["unit"], found["units"]) == ("subjects", 1)
    assert np.isnan(list(found["bounds"].values())).all()


@pytest.mark.parametrize("labels", [[], [-1, -1]])
def test_without_labelled_pictures_there_is_no_interval(labels: list[int]):
    made = predictions.Predictions(
        names=("a",) * len(labels),
        labels=np.array(labels, np.int64),
        probabilities=np.full((len(labels), 2), 0.5),
        class_names=("a", "b"),
    )
    found = intervals.of(made)
    assert (found["unit"], found["units"]) == ("pictures", 0)
    assert np.isnan(list(found["bounds"].values())).all()


def test_what_most_draws_leave_undefined_has_no_interval():
    # Of four subjects of three classes fewer than half the draws have every class, of nine most.
    few, more = (intervals.of(some(classes=3, subjects=count))["bounds"] for count in (4, 9))
    assert np.isfinite(few.pop("accuracy")).all()
    assert np.isnan(list(few.values())).all()
    assert np.isfinite(list(more.values())).all()


def test_a_draw_without_a_class_counts_for_the_accuracy_alone():
    """Alone, the class that is always named would have a recall of 1, and the other one of 0.

    The scores that are then the same in every draw have no interval.
    """
    made = predictions.Predictions(
        names=tuple("abcd"),
        subjects=tuple("ABCD"),
        labels=np.array([0, 0, 1, 1]),
        probabilities=np.tile([0.75, 0.25], (4, 1)),
        class_names=("a", "b"),
    )
    bounds = intervals.of(made)["bounds"]
    for name in ("balanced_accuracy", "kappa", "auroc", "sensitivity", "specificity"):
        assert np.isnan(bounds[name]).all(), name
    assert bounds["accuracy"] == [0, 1]
    assert 0 < bounds["f1_macro"][0] < bounds["f1_macro"][1] < 0.5


@pytest.mark.parametrize("called", [1, 0])
def test_few_subjects_without_a_difference_leave_the_accuracy_a_wide_interval(called):
    made = predictions.Predictions(
        names=tuple("abcd"),
        subjects=tuple("ABCD"),
        labels=np.array([0, 0, 1, 1]),
        probabilities=np.eye(2)[[1 - called, 1 - called, called, called]],
        class_names=("a", "b"),
    )
    bounds = intervals.of(made)["bounds"]
    exact = scipy.stats.binomtest(4 * called, 4).proportion_ci(0.95, "exact")
    np.testing.assert_allclose(bounds["accuracy"], (exact.low, exact.high))
    assert np.isnan([bounds[name] for name in ("balanced_accuracy", "sensitivity", "auroc")]).all()


def test_every_unit_is_drawn_once_on_average():
    counts = intervals.draw(np.random.default_rng(0), 6, 500)
    assert (counts.sum(1) == 6).all()
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.15)


def test_the_same_seed_gives_the_same_numbers_and_another_one_others():
    made = some()
    assert intervals.of(made) == intervals.of(made)
    assert intervals.of(made, seed=1) != intervals.of(made)


def test_it_is_quick():
    made = some(count=1867, subjects=28)
    begun = time.process_time()
    intervals.of(made)
    assert time.process_time() - begun < 10  # half a second on an idle machine
