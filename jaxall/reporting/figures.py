"""Figures in which several runs stand together."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epy

from jaxall.evaluation import metrics
from jaxall.evaluation.predictions import Predictions
from jaxall.reporting import canvas, standings, tables

with epy.lazy_imports():
    from matplotlib import ticker


def intervals(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Accuracy of each run with its 95 % interval, and a line for each baseline.

    From the ten below the least of them to 100 %. `rows` as from `standings`.
    """
    runs = [row for row in rows if row["kind"] == standings.RUN]
    baselines = [row for row in rows if row["kind"] == standings.BASELINE]
    drawing = canvas.figure(8.5, 1.2 + 0.42 * len(runs) + 0.2 * len(baselines))
    panel, drawn = drawing.add_subplot(), []
    for place, row in enumerate(runs):
        value = 100 * row["accuracy"]
        bounds = [100 * row["accuracy_low"], 100 * row["accuracy_high"]]
        panel.plot(bounds, [place] * 2, color=canvas.COLOURS[0], linewidth=2, marker="|")
        panel.plot(value, place, color=canvas.COLOURS[0], marker="o", markersize=7)
    for place, row in enumerate(baselines):
        look = canvas.look(place + 1)
        drawn.append(panel.axvline(100 * row["accuracy"], **look, linewidth=1.4))
    texts = [
        f"{canvas.plain(row['name'], 40)} {tables.percent(row['accuracy'])}" for row in baselines
    ]
    panel.set_yticks(range(len(runs)), [canvas.plain(row["name"], 34) for row in runs], fontsize=9)
    panel.set_ylim(len(runs) - 0.4, -0.6)
    least = np.nanmin([(row["accuracy"], row.get("accuracy_low", np.nan)) for row in rows])
    panel.set_xlim(10 * math.floor(10 * least) - 1, 101)
    panel.set_xlabel("accuracy (%)")
    canvas.tidy(panel)
    if drawn:
        drawing.legend(drawn, texts, loc="outside lower center", ncols=2, fontsize=9)
    canvas.save(drawing, path)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Kind:
    """Of curve.

    Attributes:
        axes: what stands along x and y.
        area: its name.
        points: x, y and area, from bool [N] and scores [N].
        drawstyle: matplotlib's, of what lies between two points.
        corner: where x begins and ends (%) in the enlarged corner.
    """

    axes: tuple[str, str]
    area: str
    points: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, float]]
    drawstyle: str
    corner: tuple[int, int]


def roc(named: Mapping[str, Predictions], label: int, path: str | os.PathLike[str]) -> None:
    """One class against the rest, a curve for each run, over the labelled pictures.

    Where all are good, only the upper left corner is shown, and the title says so.
    """

    def points(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        false_alarms, hits, _ = metrics.roc_curve(positive, scores)
        return false_alarms, hits, metrics.auroc(positive, scores)

    kind = _Kind(
        axes=("false positives (% of the other classes)", "true positives (% of the class)"),
        area="AUROC",
        points=points,
        drawstyle="default",
        corner=(0, 100 - canvas.CORNER),
    )
    _together(named, label, path, kind)


def precision_recall(
    named: Mapping[str, Predictions], label: int, path: str | os.PathLike[str]
) -> None:
    """As `roc`, of precision over recall; the corner is the upper right one."""

    def points(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        x, y = canvas.precision_recall(positive, scores)
        return x, y, metrics.average_precision(positive, scores)

    kind = _Kind(
        axes=("recall (% of the class that is found)", "precision (% of what is called so)"),
        area="av. precision",
        points=points,
        drawstyle="steps-pre",
        corner=(canvas.CORNER, 100),
    )
    _together(named, label, path, kind)


def _together(
    named: Mapping[str, Predictions], label: int, path: str | os.PathLike[str], kind: _Kind
) -> None:
    drawing = canvas.figure(5.2, 4.9 + 0.2 * len(named))
    panel, drawn, areas = drawing.add_subplot(), [], []
    for number, one in enumerate(named.values()):
        known = one.labels >= 0
        x, y, area = kind.points(one.labels[known] == label, one.probabilities[known, label])
        look = canvas.look(number)
        drawn += panel.plot(100 * x, 100 * y, **look, linewidth=1.8, drawstyle=kind.drawstyle)
        areas.append(area)
    is_good = min(areas) > canvas.ENLARGED_ABOVE
    (left, right), foot = kind.corner if is_good else (0, 100), canvas.CORNER if is_good else 0
    margin = (right - left) / 50
    panel.set_xlim(left - margin, right + margin)
    panel.set_ylim(foot - margin, 100 + margin)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(ticker.MultipleLocator((right - left) // 4))
    panel.set_aspect("equal")
    panel.set_title("corner, enlarged" if is_good else "", fontsize=9, color=canvas.GREY)
    panel.set_xlabel(kind.axes[0])
    panel.set_ylabel(kind.axes[1])
    canvas.tidy(panel)
    pairs = zip(named, areas, strict=True)
    texts = [
        canvas.plain(f"{name} ({kind.area} {tables.number(area)})", 60) for name, area in pairs
    ]
    drawing.legend(drawn, texts, loc="outside lower center", fontsize=9)
    canvas.save(drawing, path)
