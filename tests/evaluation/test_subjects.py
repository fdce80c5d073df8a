import csv
import math
import pathlib

import numpy as np
import pytest

from jaxall.evaluation import predictions, subjects

CLASSES = ("HEM", "ALL")


def some(
    rows: list[tuple[str, int, float]], class_names: tuple[str, ...] = CLASSES
) -> predictions.Predictions:
    """Rows of subject, label, and probability of the second class."""
    return predictions.Predictions(
        names=tuple(f"{i}.bmp" for i in range(len(rows))),
        subjects=tuple(subject for subject, _, _ in rows),
        labels=np.array([label for _, label, _ in rows], np.int64),
        probabilities=np.array([[1 - p, p] for *_, p in rows], float).reshape(-1, 2),
        class_names=class_names,
    )


ROWS = [
    ("7", 1, 0.9), ("H1", 0, 0.2), ("7", 1, 0.8), ("7", 1, 0.3), ("H1", 0, 0.8),
    ("H1", 0, 0.7), ("", 1, 0.1), ("9", -1, 0.9), ("mixed", 0, 0.1), ("mixed", 1, 0.3),
]  # fmt: skip


def test_a_subject_is_all_its_labelled_pictures():
    found = subjects.of(some(ROWS))
    assert [(one.name, one.label, one.pictures, one.right, one.majority) for one in found] == [
        ("7", 1, 3, 2, 1),
        ("H1", 0, 3, 1, 1),
        ("mixed", -1, 2, 1, 0),
    ]
    assert [one.accuracy for one in found] == [2 / 3, 1 / 3, 1 / 2]


@pytest.mark.parametrize(("last", "majority"), [(0.95, 1), (0.55, 0)])
def test_of_equal_votes_the_likelier_class_decides(last: float, majority: int):
    (found,) = subjects.of(some([("a", 0, 0.3), ("a", 0, last)]))
    assert found.majority == majority


def test_votes_count_before_probabilities():
    (found,) = subjects.of(some([("a", 0, 0.49), ("a", 0, 0.49), ("a", 0, 1.0)]))
    assert found.majority == 0


def test_each_subject_counts_the_same_and_one_of_several_classes_has_no_majority_to_be_right():
    summary = subjects.summary(subjects.of(some(ROWS)), CLASSES)
    assert summary == {
        "count": 3,
        "of_one_class": 2,
        "majority_right": 1,
        "majority_accuracy": 0.5,
        "least_accuracy": 1 / 3,
        "median_accuracy": 1 / 2,
        "mean_accuracy": pytest.approx(0.5),
        "per_class": {
            "HEM": {"count": 1, "majority_right": 0, "mean_accuracy": 1 / 3},
            "ALL": {"count": 1, "majority_right": 1, "mean_accuracy": 2 / 3},
        },
    }


def test_without_subjects_nothing_is_known():
    assert subjects.of(some([("", 0, 0.1), ("a", -1, 0.2)])) == ()
    summary = subjects.summary((), CLASSES)
    assert (summary["count"], summary["majority_right"]) == (0, 0)
    for name in ("majority_accuracy", "least_accuracy", "median_accuracy", "mean_accuracy"):
        assert math.isnan(summary[name])
    assert math.isnan(summary["per_class"]["HEM"]["mean_accuracy"])


def test_the_table_begins_with_the_worst(tmp_path: pathlib.Path):
    subjects.save_csv(subjects.of(some(ROWS)), CLASSES, tmp_path / "subjects.csv")
    with (tmp_path / "subjects.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["subject", "label", "pictures", "right", "accuracy", "majority"],
            ["H1", "HEM", "3", "1", "0.3333", "ALL"],
            ["mixed", "", "2", "1", "0.5000", "HEM"],
            ["7", "ALL", "3", "2", "0.6667", "ALL"],
        ]
