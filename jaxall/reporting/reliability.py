"""The reliability diagram: how often a class that is called with some probability is right."""

from __future__ import annotations

import os

import numpy as np
from etils import epy

from jaxall.evaluation import calibration, predictions
from jaxall.reporting import canvas, tables

with epy.lazy_imports():
    from matplotlib import ticker


def diagram(
    predictions: predictions.Predictions, path: str | os.PathLike[str], title: str = ""
) -> None:
    """Accuracy over confidence, above the number of pictures in each bin.

    Over the labelled pictures. A dot under the dotted line is overconfident.
    """
    known = predictions.labels >= 0
    labels, probabilities = predictions.labels[known], predictions.probabilities[known]
    found = calibration.bins(labels, probabilities)
    error = tables.number(calibration.expected_error(labels, probabilities))
    edges = np.linspace(0, 100, len(found.count) + 1)
    start = 100 / len(predictions.class_names)  # the likeliest class has no less
    drawing = canvas.figure(5.2, 6)
    upper, lower = drawing.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 100], [0, 100], color=canvas.GREY, linewidth=1, linestyle=":")
    dots = {"color": canvas.COLOURS[0], "linewidth": 1.2, "marker": "o", "markersize": 5}
    there = found.count > 0
    upper.plot(100 * found.confidence[there], 100 * found.accuracy[there], **dots)
    upper.set_ylim(-2, 102)
    upper.set_ylabel("rightly called (%)")
    upper.text(0.03, 0.95, f"calibration error {error}", transform=upper.transAxes, va="top")
    lower.bar(edges[:-1], found.count, np.diff(edges), align="edge", color=canvas.COLOURS[0])
    lower.set_ylabel("pictures")
    lower.set_xlabel("probability of the class that was called (%)")
    lower.set_xlim(edges[edges <= start].max() - 2, 102)
    lower.xaxis.set_major_locator(ticker.MultipleLocator(10))
    lower.yaxis.set_major_locator(ticker.MaxNLocator(nbins=3, integer=True))
    for panel in (upper, lower):
        canvas.tidy(panel)
    drawing.align_ylabels()
    drawing.suptitle(canvas.plain(title, 56), fontsize=11)
    canvas.save(drawing, path)
