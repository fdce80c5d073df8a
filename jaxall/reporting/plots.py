"""Plots of one model's scores."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from etils import epy

from jaxall.evaluation import metrics, predictions
from jaxall.reporting import canvas, tables
from jaxall.reporting.canvas import COLOURS, GREY

with epy.lazy_imports():  # a run draws nothing before its first epoch has ended
    from matplotlib import axes, lines, ticker


def confusion_matrix(
    confusion: npt.ArrayLike,
    class_names: Sequence[str],
    path: str | os.PathLike[str],
    title: str = "",
) -> None:
    """Counts, and what share of its true class each is, for 2 to 8 classes.

    The shade grows with the root of the share, so that one error in a hundred can be seen.
    """
    counts = np.asarray(confusion, np.int64)
    totals = counts.sum(1, keepdims=True)
    shades = np.sqrt(counts / np.maximum(totals, 1))
    k, names = len(class_names), [canvas.plain(name, 14) for name in class_names]
    side = 1.9 + max(0.95 * k, 2.2)
    drawing = canvas.figure(side + 0.3, side)
    panel = drawing.add_subplot()
    panel.imshow(shades, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(k, k):
        ink = "white" if shades[i, j] > 0.6 else "black" if counts[i, j] else GREY
        place = "bottom" if counts[i, j] else "center"
        count = f"{counts[i, j]:,}" if totals[i, 0] else tables.DASH
        panel.text(j, i, count, ha="center", va=place, color=ink, fontsize=13)
        if counts[i, j]:
            share = tables.percent(counts[i, j] / totals[i, 0])
            panel.text(j, i + 0.1, share, ha="center", va="top", color=ink, fontsize=8.5)
    rows = [f"{name}\n{total:,} in all" for name, total in zip(names, totals[:, 0], strict=True)]
    panel.set_xticks(range(k), names, fontsize=9)
    panel.set_yticks(range(k), rows, fontsize=9)
    panel.set_xticks(np.arange(1, k) - 0.5, minor=True)
    panel.set_yticks(np.arange(1, k) - 0.5, minor=True)
    panel.grid(which="minor", color="white", linewidth=2)
    panel.tick_params(which="both", length=0)
    panel.set_xlabel("predicted class")
    panel.set_ylabel("true class")
    panel.set_title(canvas.plain(title, 14 * k), fontsize=11)
    canvas.save(drawing, path)


def roc(
    predictions: predictions.Predictions, path: str | os.PathLike[str], title: str = ""
) -> None:
    """Each class against the rest, over the labelled pictures; a missing class has no curve.

    Where a curve is good enough (AUROC above 0.95), its corner is enlarged in a second panel.
    """
    known = predictions.labels >= 0
    labels, probabilities = predictions.labels[known], predictions.probabilities[known]
    areas = metrics.auroc_per_class(labels, probabilities)
    names = [canvas.plain(name, 34) for name in predictions.class_names]
    texts = [
        f"{name} (AUROC {tables.number(area)})" for name, area in zip(names, areas, strict=True)
    ]
    corner = bool((areas > canvas.ENLARGED_ABOVE).any())
    legend_lines = 1 + sum(text.count("\n") + 1 for text in texts)
    drawing = canvas.figure(9.6 if corner else 5.2, 5 + 0.2 * legend_lines / (2 if corner else 1))
    panels = drawing.subplots(1, 2 if corner else 1, squeeze=False)[0]
    curves = [metrics.roc_curve(labels == k, column) for k, column in enumerate(probabilities.T)]
    drawn = _roc_curves(panels[0], curves, start=0, step=20)
    for panel in panels[1:]:
        _roc_curves(panel, curves, start=canvas.CORNER, step=5)
        panel.set_title("upper left corner, enlarged", fontsize=9, color=GREY)
    # Handed over one by one: a name that begins with an underscore would be left out otherwise.
    drawing.legend(
        drawn, ["chance", *texts], loc="outside lower center", ncols=len(panels), fontsize=9
    )
    drawing.suptitle(canvas.plain(title, 56 * len(panels)), fontsize=11)
    canvas.save(drawing, path)


def precision_recall(
    predictions: predictions.Predictions, path: str | os.PathLike[str], title: str = ""
) -> None:
    """Each class against the rest, over the labelled pictures; a missing class has no curve.

    A short tick at the left is the class's share of the pictures: the precision of mere guesses.
    """
    known = predictions.labels >= 0
    labels, probabilities = predictions.labels[known], predictions.probabilities[known]
    areas = metrics.average_precision_per_class(labels, probabilities)
    names = [canvas.plain(name, 30) for name in predictions.class_names]
    pairs = zip(names, areas, strict=True)
    texts = [f"{name} (average precision {tables.number(area)})" for name, area in pairs]
    drawing = canvas.figure(5.2, 5 + 0.2 * sum(text.count("\n") + 1 for text in texts))
    panel, drawn = drawing.add_subplot(), []
    for k, column in enumerate(probabilities.T):
        x, y = canvas.precision_recall(labels == k, column)
        drawn += panel.step(100 * x, 100 * y, where="pre", **canvas.look(k))
        if (labels == k).any():
            share = [100 * np.mean(labels == k)] * 2
            panel.plot([-2, 3], share, color=COLOURS[k % len(COLOURS)], linewidth=1)
    panel.set_xlim(-2, 102)
    panel.set_ylim(-2, 102)
    panel.xaxis.set_major_locator(ticker.MultipleLocator(20))
    panel.yaxis.set_major_locator(ticker.MultipleLocator(20))
    panel.set_aspect("equal")
    panel.set_xlabel("recall (% of the class that is found)")
    panel.set_ylabel("precision (% of what is called so)")
    canvas.tidy(panel)
    drawing.legend(drawn, texts, loc="outside lower center", fontsize=9)
    drawing.suptitle(canvas.plain(title, 56), fontsize=11)
    canvas.save(drawing, path)


def _roc_curves(
    panel: axes.Axes, curves: Sequence[tuple[np.ndarray, ...]], start: int, step: int
) -> list[lines.Line2D]:
    """Draw chance and the curves, from `start` % true and to 100 - `start` % false positives."""
    drawn = panel.plot([0, 100], [0, 100], color=GREY, linewidth=1, linestyle=":")
    for k, (false_alarms, hits, _) in enumerate(curves):
        drawn += panel.plot(100 * false_alarms, 100 * hits, linewidth=1.8, **canvas.look(k))
    margin = (100 - start) / 50
    panel.set_xlim(-margin, 100 - start + margin)
    panel.set_ylim(start - margin, 100 + margin)
    panel.xaxis.set_major_locator(ticker.MultipleLocator(step))
    panel.yaxis.set_major_locator(ticker.MultipleLocator(step))
    panel.set_aspect("equal")
    panel.set_xlabel("false positives (% of the other classes)")
    panel.set_ylabel("true positives (% of the class)")
    canvas.tidy(panel)
    return drawn
