"""What all plots share: the same input gives the same bytes, and any thread may draw.

Matplotlib's objects are used directly, without pyplot's global state. Colours are Okabe and Ito's,
told apart by colour-blind readers; curves differ in dash as well.
"""

from __future__ import annotations

import io
import os
import pathlib
import re
import textwrap
from typing import Any

import numpy as np
from etils import epy

from jaxall import files
from jaxall.evaluation import metrics

with epy.lazy_imports():  # a run draws nothing before its first epoch has ended
    import matplotlib
    from matplotlib import axes, layout_engine
    from matplotlib import figure as matplotlib_figure
    from matplotlib.backends import backend_agg

DOTS_PER_INCH = 144
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (7, 2)))
GREY = "#767676"
ENLARGED_ABOVE = 0.95  # area from which the upper corner of ROC and PR curves is enlarged
CORNER = 80  # %, where it begins
# But the white space that wrapping takes care of.
_UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def look(number: int) -> dict[str, Any]:
    """Colour and dash of a plot's so-manieth curve, from 0."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def plain(text: str, width: int, most_lines: int | None = None) -> str:
    """The text wrapped, long words cut; a dollar sign stays one and begins no formula.

    Characters that no drawing can hold (control, and bytes that were no text) are spelled out.
    """
    printable = _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)
    wrapped = [part for line in printable.splitlines() for part in textwrap.wrap(line, width)]
    if most_lines is not None and len(wrapped) > most_lines:
        wrapped = [*wrapped[: most_lines - 1], wrapped[most_lines - 1][: width - 1] + "…"]
    return "\n".join(wrapped).replace("$", r"\$")


def precision_recall(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recalls and precisions to be drawn as steps that end at their points, from recall 0 on."""
    precisions, recalls, _ = metrics.precision_recall_curve(positive, scores)
    steps = np.append(precisions[:1], precisions)
    return np.append(0, recalls)[: len(steps)], steps


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
    """Writes the file whole or not at all, without date or program in it.

    A name that ends in .svg becomes a drawing of lines, whose texts stay texts; any other a PNG.
    """
    buffer = io.BytesIO()
    if pathlib.Path(path).suffix == ".svg":
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        # Texts stay texts, and names within the file are the same each time.
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "jaxall"}):
            drawing.savefig(buffer, format="svg", metadata=metadata)
    else:
        drawing.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    files.write(path, buffer.getvalue())
