"""Plots of scores, of a run's course, and of pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from etils import epy

from jaxall.evaluation import metrics, predictions, scores
from jaxall.reporting import canvas, tables
from jaxall.reporting.canvas import COLOURS, DOTS_PER_INCH, GREY

with epy.lazy_imports():  # a run draws nothing before its first epoch has ended
    from matplotlib import axes, lines, ticker

CAPTION_CHARACTERS, CAPTION_LINES = 26, 3
MARKERS_UP_TO = 40  # epochs; beyond, dots would hide the curve
CORNER_ABOVE = 0.95  # AUROC from which the upper left corner is enlarged
LOG_ABOVE = 50  # largest loss over smallest from which the scale is logarithmic

# key of an epoch's record: (legend, colour)
LOSSES = {"train_loss": ("train", COLOURS[0]), "validation_loss": ("validation", COLOURS[1])}
SCORES = {
    "train_accuracy": ("train accuracy", COLOURS[0]),
    "validation_accuracy": ("validation accuracy", COLOURS[1]),
    "validation_f1_macro": ("validation F1 macro", COLOURS[2]),
}
RATES = {"learning_rate": ("learning rate", COLOURS[6])}


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
    corner = bool((areas > CORNER_ABOVE).any())
    legend_lines = 1 + sum(text.count("\n") + 1 for text in texts)
    drawing = canvas.figure(9.6 if corner else 5.2, 5 + 0.2 * legend_lines / (2 if corner else 1))
    panels = drawing.subplots(1, 2 if corner else 1, squeeze=False)[0]
    curves = [metrics.roc_curve(labels == k, column) for k, column in enumerate(probabilities.T)]
    drawn = _roc_curves(panels[0], curves, start=0, step=20)
    for panel in panels[1:]:
        _roc_curves(panel, curves, start=80, step=5)
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
        precisions, recalls, _ = metrics.precision_recall_curve(labels == k, column)
        x, y = np.append(0, recalls), np.append(precisions[:1], precisions)
        drawn += panel.step(100 * x[: len(y)], 100 * y, where="pre", **canvas.look(k))
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


def learning_curves(
    epochs: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    best_by: str = "validation_f1_macro",
    title: str = "",
) -> None:
    """Losses, scores and (if recorded) learning rate over the records' "epoch".

    What is missing, None or not finite leaves a gap. The epoch best in `best_by` is marked.

    Raises:
        ValueError: there are no epochs.
    """
    if not epochs:
        raise ValueError("wanted at least one epoch to plot, got none")
    has_rates = bool(np.isfinite(_column(epochs, "learning_rate")).any())
    heights = [2.6, 2.6, 1.3] if has_rates else [2.6, 2.6]
    drawing = canvas.figure(8.5, sum(heights) + 0.7)
    panels = drawing.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    _losses(panels[0], epochs)
    _shares(panels[1], epochs)
    for panel in panels[2:]:
        _from_zero(panel, _curves(panel, epochs, RATES))
        panel.set_ylabel("learning rate")
        panel.ticklabel_format(axis="y", scilimits=(-2, 3))
    _mark_best(panels, epochs, best_by)
    for panel in panels:
        canvas.tidy(panel)
    for panel in panels[:2]:
        shown = panel.get_legend_handles_labels()
        panel.legend(*shown, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9, frameon=False)
    numbers = _column(epochs, "epoch")
    panels[-1].set_xlim(numbers.min() - 0.5, numbers.max() + 0.5)
    panels[-1].xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    panels[-1].set_xlabel("epoch")
    panels[0].set_title(canvas.plain(title, 70), fontsize=11)
    drawing.align_ylabels()
    canvas.save(drawing, path)


def contact_sheet(
    images: Sequence[np.ndarray],
    captions: Sequence[str],
    path: str | os.PathLike[str],
    columns: int = 6,
) -> None:
    """Pictures (uint8 [H,W,3], any sizes) in rows, each over its caption of at most three lines.

    The longer side of each becomes 224 pixels; one of 224 x 224 is shown pixel for pixel.

    Raises:
        ValueError: no pictures, not as many captions, or no columns.
    """
    if not images or len(images) != len(captions) or columns < 1:
        came = f"{len(images)} pictures, {len(captions)} captions, {columns} columns"
        raise ValueError(f"wanted as many captions as pictures, one column or more, got {came}")
    texts = [canvas.plain(caption, CAPTION_CHARACTERS, CAPTION_LINES) for caption in captions]
    columns, rows = min(columns, len(images)), math.ceil(len(images) / columns)
    side, gap, line = 224, 12, 20  # in pixels, as are all lengths on a sheet
    row_height = side + 2 * gap + line * max(text.count("\n") + 1 for text in texts)
    width, height = columns * (side + gap) + gap, rows * row_height + gap
    drawing = canvas.figure(width / DOTS_PER_INCH, height / DOTS_PER_INCH, arrange=False)
    sheet = drawing.add_axes((0, 0, 1, 1))
    for position, (image, text) in enumerate(zip(images, texts, strict=True)):
        row, column = divmod(position, columns)
        x, y = gap + column * (side + gap) + side // 2, gap + row * row_height + side // 2
        half_y, half_x = side / 2 * np.array(image.shape[:2]) / max(image.shape[:2])
        extent = (x - half_x, x + half_x, y + half_y, y - half_y)
        sheet.imshow(image, extent=extent, aspect="auto")
        sheet.text(x, y + side // 2 + gap // 2, text, ha="center", va="top", fontsize=7.5)
    sheet.set_xlim(0, width)
    sheet.set_ylim(height, 0)
    sheet.set_axis_off()
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


def _losses(panel: axes.Axes, epochs: Sequence[Mapping[str, Any]]) -> None:
    values = _curves(panel, epochs, LOSSES)
    panel.set_ylabel("loss")
    if values.size and 0 < values.min() < values.max() / LOG_ABOVE:
        panel.set_yscale("log")
        panel.set_ylabel("loss (log scale)")
    else:
        _from_zero(panel, values)


def _from_zero(panel: axes.Axes, values: np.ndarray) -> None:
    panel.set_ylim(min(0, 1.08 * values.min(initial=0)), 1.08 * values.max(initial=0) or 1)


def _shares(panel: axes.Axes, epochs: Sequence[Mapping[str, Any]]) -> None:
    values = 100 * _curves(panel, epochs, SCORES)
    panel.yaxis.set_major_formatter(ticker.PercentFormatter(xmax=1, decimals=0))
    bottom = 10 * math.floor(values.min(initial=90) / 10)
    panel.set_ylim(bottom / 100, 1 + 0.03 * (1 - bottom / 100))
    panel.set_ylabel("score")


def _curves(
    panel: axes.Axes, epochs: Sequence[Mapping[str, Any]], curves: Mapping[str, tuple[str, str]]
) -> np.ndarray:
    """Draw the curves that have values; returns all those values."""
    numbers, drawn = _column(epochs, "epoch"), [np.zeros(0)]
    for key, (label, colour) in curves.items():
        values = _column(epochs, key)
        if np.isfinite(values).any():
            marker = "o" if len(epochs) <= MARKERS_UP_TO else None
            panel.plot(numbers, values, color=colour, label=label, marker=marker, markersize=4)
            drawn.append(values[np.isfinite(values)])
    return np.concatenate(drawn)


def _mark_best(
    panels: Sequence[axes.Axes], epochs: Sequence[Mapping[str, Any]], best_by: str
) -> None:
    best = scores.best(epochs, best_by)
    if best is None:
        return
    epoch, value = epochs[best]["epoch"], epochs[best][best_by]
    label = f"best epoch: {epoch}\n({tables.wording(best_by)} {tables.score(best_by, value)})"
    for panel in panels:
        line = panel.axvline(epoch, color=GREY, linewidth=1, linestyle="--", zorder=0)
        line.set_label(label if panel is panels[1] else "")


def _column(epochs: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """Values of a key [epochs], NaN where missing, None or not finite."""
    values = [epoch.get(key) for epoch in epochs]
    column = np.array([math.nan if value is None else value for value in values], np.float64)
    return np.where(np.isfinite(column), column, np.nan)
