"""Predictions by subject: what a patient is told rests on all pictures of one."""

import csv
import dataclasses
import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxall import files
from jaxall.evaluation.predictions import Predictions

COLUMNS = ["subject", "label", "pictures", "right", "accuracy", "majority"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """The labelled pictures of one subject.

    Attributes:
        name: of the subject.
        label: of all its pictures; -1 where they are of several classes.
        pictures: how many there are.
        right: how many were named rightly.
        majority: what most were called; of equals what is likelier on the mean.
    """

    name: str
    label: int
    pictures: int
    right: int
    majority: int

    @property
    def accuracy(self) -> float:
        """Share of the pictures that were named rightly."""
        return self.right / self.pictures


def of(predictions: Predictions) -> tuple[Subject, ...]:
    """The subjects that are known and have labelled pictures, by name."""
    rows: dict[str, list[int]] = {}
    for index, (name, label) in enumerate(
        zip(predictions.subjects, predictions.labels.tolist(), strict=True)
    ):
        if name and label >= 0:
            rows.setdefault(name, []).append(index)
    return tuple(_subject(name, predictions, np.array(rows[name])) for name in sorted(rows))


def _subject(name: str, predictions: Predictions, rows: np.ndarray) -> Subject:
    labels, predicted = predictions.labels[rows], predictions.predicted[rows]
    votes = np.bincount(predicted, minlength=len(predictions.class_names))
    # A mean probability is at most 1, so that it decides between equal numbers of votes only.
    majority = (votes + predictions.probabilities[rows].mean(0) / 2).argmax()
    return Subject(
        name=name,
        label=int(labels[0]) if (labels == labels[0]).all() else -1,
        pictures=len(rows),
        right=int((labels == predicted).sum()),
        majority=int(majority),
    )


def summary(subjects: Sequence[Subject], class_names: Sequence[str]) -> dict[str, Any]:
    """Figures over subjects, each counting the same however many its pictures.

    Returns:
        "count"; "of_one_class", how many have pictures of one class only; "majority_right", how
        many of those have most of their pictures named rightly, and "majority_accuracy", their
        share; "least_accuracy", "median_accuracy" and "mean_accuracy" of all; "per_class": class
        name -> its subjects' "count", "majority_right" and "mean_accuracy". NaN where there is no
        subject to divide by.
    """
    single = [subject for subject in subjects if subject.label >= 0]
    right = [subject.majority == subject.label for subject in single]
    accuracies = np.array([subject.accuracy for subject in subjects])
    per_class = {}
    for label, name in enumerate(class_names):
        own = [subject for subject in single if subject.label == label]
        per_class[name] = {
            "count": len(own),
            "majority_right": sum(subject.majority == label for subject in own),
            "mean_accuracy": _mean([subject.accuracy for subject in own]),
        }
    return {
        "count": len(subjects),
        "of_one_class": len(single),
        "majority_right": sum(right),
        "majority_accuracy": _mean(right),
        "least_accuracy": float(accuracies.min()) if subjects else float("nan"),
        "median_accuracy": float(np.median(accuracies)) if subjects else float("nan"),
        "mean_accuracy": _mean(accuracies.tolist()),
        "per_class": per_class,
    }


def save_csv(
    subjects: Sequence[Subject], class_names: Sequence[str], path: str | os.PathLike[str]
) -> None:
    """Writes a line per subject, the worst first; the label is empty where there are several."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    word = dict(enumerate(class_names)) | {-1: ""}
    for one in sorted(subjects, key=lambda subject: (subject.accuracy, subject.name)):
        figures = (one.pictures, one.right, f"{one.accuracy:.4f}")
        writer.writerow([one.name, word[one.label], *figures, word[one.majority]])
    files.write(path, buffer.getvalue())


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
