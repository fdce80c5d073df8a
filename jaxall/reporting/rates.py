"""The plot of a sweep over learning rates."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import numpy.typing as npt

from jaxall.reporting import canvas


def sweep(
    rates: npt.ArrayLike,
    losses: npt.ArrayLike,
    smoothed: npt.ArrayLike,
    marks: Mapping[str, float],
    path: str | os.PathLike[str],
    title: str = "",
) -> None:
    """Loss over learning rate, as it was and smoothed; marked rates stand in the legend.

    A mark that is NaN is left out.
    """
    drawing = canvas.figure(6.4, 4.2)
    panel = drawing.add_subplot()
    panel.plot(rates, losses, color=canvas.GREY, linewidth=0.8, alpha=0.6, label="of a batch")
    panel.plot(rates, smoothed, color=canvas.COLOURS[0], linewidth=1.6, label="smoothed")
    for number, (name, rate) in enumerate(marks.items(), 1):
        if not math.isnan(rate):
            panel.axvline(rate, linewidth=1.2, label=f"{name}: {rate:.2g}", **canvas.look(number))
    panel.set_xscale("log")
    panel.set_xlabel("learning rate")
    panel.set_ylabel("loss")
    panel.legend(frameon=False)
    canvas.tidy(panel)
    drawing.suptitle(canvas.plain(title, 60), fontsize=11)
    canvas.save(drawing, path)
