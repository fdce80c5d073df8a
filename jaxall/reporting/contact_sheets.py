"""Sheets of pictures with captions."""

import math
import os
from collections.abc import Sequence

import numpy as np

from jaxall.reporting import canvas
from jaxall.reporting.canvas import DOTS_PER_INCH

CAPTION_CHARACTERS, CAPTION_LINES = 26, 3


def draw(
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
