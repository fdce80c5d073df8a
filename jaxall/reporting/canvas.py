"""What all plots share: the same input gives the same bytes, and any thread may draw.

Matplotlib's objects are used directly, without pyplot's global state. Colours are Okabe and Ito's,
told apart by colour-blind readers; curves differ in dash as well.
"""

from __future__ import annotations

import io
import os
import textwrap
from typing import Any

from etils import epy

from jaxall import files

with epy.lazy_imports():  # a run draws nothing before its first epoch has ended
    from matplotlib import axes, layout_engine
    from matplotlib import figure as matplotlib_figure
    from matplotlib.backends import backend_agg

DOTS_PER_INCH = 144
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (7, 2)))
GREY = "#767676"


def look(number: int) -> dict[str, Any]:
    """Colour and dash of a plot's so-manieth curve, from 0."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def plain(text: str, width: int, most_lines: int | None = None) -> str:
    """The text wrapped, long words cut; a dollar sign stays one and begins no formula."""
    wrapped = [part for line in text.splitlines() for part in textwrap.wrap(line, width)]
    if most_lines is not None and len(wrapped) > most_lines:
        wrapped = [*wrapped[: most_lines - 1], wrapped[most_lines - 1][: width - 1] + "…"]
    return "\n".join(wrapped).replace("$", r"\$")


def tidy(panel: axes.Axes) -> None:
    """A pale grid behind what is drawn, and no frame above or at the right."""
    panel.grid(color="#E0E0E0", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def figure(width: float, height: float, arrange: bool = True) -> matplotlib_figure.Figure:
    """An empty figure, in inches; arranged, it keeps panels and labels apart and inside."""
    layout = layout_engine.ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1) if arrange else None
    drawing = matplotlib_figure.Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout)
    backend_agg.FigureCanvasAgg(drawing)
    return drawing


def save(drawing: matplotlib_figure.Figure, path: str | os.PathLike[str]) -> None:
    """Writes the file whole or not at all, without date or program in it."""
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    files.write(path, buffer.getvalue())
