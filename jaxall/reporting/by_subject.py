"""The plot of each subject's accuracy."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
from etils import epy

from jaxall.evaluation import subjects
from jaxall.reporting import canvas, tables

with epy.lazy_imports():
    from matplotlib import ticker

STACK = 2.5  # percentage points in which dots stand one above the other
FOOT, STEP = 0.3, 0.09  # where the lowest stands below the row's middle, and the next above it
APART = 6  # percentage points between two names in a row


def accuracies(
    subjects: Sequence[subjects.Subject],
    class_names: Sequence[str],
    path: str | os.PathLike[str],
    title: str = "",
) -> None:
    """A dot per subject in the row of its class, hollow and named where its call is wrong.

    What a subject is called is what most of its pictures are, or else more than any other. The area
    of a dot grows with the subject's pictures; a line is the mean of the class. Subjects with
    pictures of several classes have a row of their own.

    Raises:
        ValueError: there are no subjects.
    """
    if not subjects:
        raise ValueError("wanted at least one subject to plot, got none")
    labels = [*range(len(class_names))]
    labels += [-1] if any(subject.label == -1 for subject in subjects) else []
    most = max(subject.pictures for subject in subjects)
    drawing = canvas.figure(8.5, 1.4 + 1.1 * len(labels))
    panel, ticks = drawing.add_subplot(), []
    for row, label in enumerate(labels):
        own = [subject for subject in subjects if subject.label == label]
        name = class_names[label] if label >= 0 else "several classes"
        mean = float(np.mean([subject.accuracy for subject in own])) if own else math.nan
        count = f"{len(own):,} subjects, mean {tables.percent(mean)}"
        ticks.append(f"{canvas.plain(name, 24)}\n{count}")
        colour = canvas.COLOURS[row % len(canvas.COLOURS)]
        panel.plot([100 * mean] * 2, [row - 0.45, row + 0.45], color=colour, linewidth=1)
        heights = _stacked([subject.accuracy for subject in own])
        named: list[float] = []
        for subject, height in zip(own, heights, strict=True):
            is_wrong = label >= 0 and subject.majority != label
            x, y = 100 * subject.accuracy, row + FOOT - height
            size = 12 + 70 * subject.pictures / most
            panel.scatter(x, y, size, edgecolors=colour, facecolors="white" if is_wrong else colour)
            # A name beside another's would cover it.
            if is_wrong and all(abs(x - other) >= APART for other in named):
                named.append(x)
                text = canvas.plain(subject.name, 12, 1)
                lifted = {"xytext": (2, 5), "textcoords": "offset points", "rotation": 40}
                panel.annotate(text, (x, y), **lifted, fontsize=7.5)
    panel.set_yticks(range(len(labels)), ticks, fontsize=9)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    panel.set_xlim(-2, 102)
    panel.xaxis.set_major_locator(ticker.MultipleLocator(10))
    panel.set_xlabel(
        "a subject's pictures that were named rightly (%)\n"
        "line: mean of the class; hollow: what its pictures were called most is wrong"
    )
    canvas.tidy(panel)
    panel.set_title(canvas.plain(title, 80), fontsize=11)
    canvas.save(drawing, path)


def _stacked(accuracies: Sequence[float]) -> list[float]:
    """How high above the row's foot each dot stands, so that none hides another."""
    columns: dict[int, int] = {}
    heights = []
    for accuracy in accuracies:
        column = round(100 * accuracy / STACK)
        heights.append(STEP * columns.get(column, 0))
        columns[column] = columns.get(column, 0) + 1
    tallest = max(heights, default=0)
    return [height * min(1, (0.45 + FOOT) / tallest) if tallest else height for height in heights]
