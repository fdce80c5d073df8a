"""The plot of a run's course: losses, scores and learning rate over the epochs."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epy

from jaxall.evaluation import scores
from jaxall.reporting import canvas, tables
from jaxall.reporting.canvas import COLOURS, GREY

with epy.lazy_imports():  # a run draws nothing before its first epoch has ended
    from matplotlib import axes, ticker

MARKERS_UP_TO = 40  # epochs; beyond, dots would hide the curve
LOG_ABOVE = 50  # largest loss over smallest from which the scale is logarithmic

# key of an epoch's record: (legend, colour)
LOSSES = {"train_loss": ("train", COLOURS[0]), "validation_loss": ("validation", COLOURS[1])}
SCORES = {
    "train_accuracy": ("train accuracy", COLOURS[0]),
    "validation_accuracy": ("validation accuracy", COLOURS[1]),
    "validation_f1_macro": ("validation F1 macro", COLOURS[2]),
}
RATES = {"learning_rate": ("learning rate", COLOURS[6])}


def learning_curves(
    epochs: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    best_by: str = "validation_f1_macro",
    title: str = "",
    steps: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Losses, scores and (if recorded) learning rate over the records' "epoch".

    The rate is that of the records of `steps`, where there are some: it may rise and fall within
    an epoch.

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
        _from_zero(panel, _curves(panel, _by_epoch(steps, epochs) or epochs, RATES))
        panel.set_ylabel("learning rate")
        panel.ticklabel_format(axis="y", scilimits=(-2, 3))
    _mark_best(panels, epochs, best_by)
    for panel in panels:
        canvas.tidy(panel)
    for panel in panels[:2]:
        shown = panel.get_legend_handles_labels()
        panel.legend(*shown, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9, frameon=False)
    numbers = _column(epochs, "epoch")
    panels[-1].set_xlim(0 if steps else numbers.min() - 0.5, numbers.max() + 0.5)
    panels[-1].xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    panels[-1].set_xlabel("epoch")
    panels[0].set_title(canvas.plain(title, 70), fontsize=11)
    drawing.align_ylabels()
    canvas.save(drawing, path)


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
            marker = "o" if len(epochs) <= MARKERS_UP_TO and curves is not RATES else None
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


def _by_epoch(
    steps: Sequence[Mapping[str, Any]], epochs: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The steps' records with the part of the epochs that was over then; [] if none is known."""
    last = epochs[-1]
    if not last.get("step") or not last.get("epoch"):
        return []
    share = last["epoch"] / last["step"]
    return [{**step, "epoch": step["step"] * share} for step in steps]


def _column(epochs: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """Values of a key [epochs], NaN where missing, None or not finite."""
    values = [epoch.get(key) for epoch in epochs]
    column = np.array([math.nan if value is None else value for value in values], np.float64)
    return np.where(np.isfinite(column), column, np.nan)
