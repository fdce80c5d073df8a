"""Operations on a picture, where each run of neighbours of one kind is carried out at once.

Warps multiply their matrices and interpolate once; tones look their values up in one table that is
rounded once. Pictures are uint8 `[H,W,3]`, RGB, and are never written into.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence

import cv2
import numpy as np

# name: (OpenCV's border mode, value of the constant border)
BORDERS = {
    "reflect": (cv2.BORDER_REFLECT_101, 0),
    "black": (cv2.BORDER_CONSTANT, 0),
    "white": (cv2.BORDER_CONSTANT, 255),
}
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, of R, G, B
# (sign of x, sign of y): OpenCV's code of that flip
_FLIPS = {(-1, 1): 1, (1, -1): 0, (-1, -1): -1}
_VALUES = np.arange(256.0).reshape(256, 1)
_VALUES.flags.writeable = False  # every picture's first tone is given it


@dataclasses.dataclass(frozen=True)
class Warp:
    """Moves the pixels; the frame stays.

    Attributes:
        matrix: float64 [3,3], affine and invertible: takes a pixel's place (x, y, 1) to its new
            one. The middle of the upper left pixel is (0, 0).
        border: of `BORDERS`, what lies outside of the frame; "" if nothing of it is moved in, or
            no more than rounding brings in.
    """

    matrix: np.ndarray
    border: str = ""

    @property
    def is_identity(self) -> bool:
        """Whether every pixel stays where it is."""
        return np.array_equal(self.matrix, IDENTITY.matrix)


@dataclasses.dataclass(frozen=True)
class Tone:
    """Changes the values, wherever they stand.

    Attributes:
        change: is given what the values 0 to 255 have become so far, float64 [256,1], or [256,3]
            where the channels differ, neither rounded nor to be written into, and a function that
            measures the mean grey so far (see `mean_grey`). Returns what they become next; what
            lies outside of 0 to 255 is clipped.
    """

    change: Callable[[np.ndarray, Callable[[], float]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Anything else.

    Attributes:
        change: takes a picture, which it must not write into, and returns one of the same shape.
    """

    change: Callable[[np.ndarray], np.ndarray]


Operation = Warp | Tone | Pixels
IDENTITY = Warp(np.eye(3))  # of any kind of change that has come to nothing


def apply(operations: Sequence[Operation], image: np.ndarray) -> np.ndarray:
    """Carries the operations out in their order, uint8 `[H,W,3]`, contiguous.

    Compared with one picture after the other, a run of warps interpolates once, so it blurs less,
    and keeps what has left the frame on the way and comes back; flips alone move pixels exactly. A
    run of tones rounds once, at the end, half to even. Returns `image` itself where nothing moves.
    """
    # What changes nothing mustn't part its neighbours, nor lend them its border.
    changing = [x for x in operations if not (isinstance(x, Warp) and x.is_identity)]
    for kind, run in itertools.groupby(changing, type):
        image = _CARRY_OUT[kind](image, run)
    return image


def mirrored(height: int, width: int, *, across: bool, down: bool) -> np.ndarray:
    """The matrix that swaps left and right (`across`), top and bottom (`down`), both or neither."""
    x, y = (-1.0 if across else 1.0), (-1.0 if down else 1.0)
    return np.array([[x, 0, (width - 1) * across], [0, y, (height - 1) * down], [0, 0, 1.0]])


def mean_grey(image: np.ndarray, table: np.ndarray) -> float:
    """The luma, averaged over a picture whose values are replaced by those of `table`.

    Luma is linear, so that its mean is that of the channels' means, which their histograms give;
    neither the luma nor the replaced values are rounded.

    Args:
        image: uint8 `[H,W,3]`.
        table: float64 [256,1] or [256,3].
    """
    if table is _VALUES:
        means = cv2.mean(image)[:3]
    else:
        counts = [cv2.calcHist([image], [channel], None, [256], [0, 256]) for channel in range(3)]
        # OpenCV 4 gives [256,1], OpenCV 5 [256]
        histograms = np.stack([count.ravel() for count in counts], axis=1)
        means = np.sum(histograms * table, axis=0) / (image.shape[0] * image.shape[1])
    return float(np.dot(LUMA, means))


def _warp_all(image: np.ndarray, warps: Sequence[Warp]) -> np.ndarray:
    """One warp, or several where another border begins."""
    matrix, border = None, ""
    for warp in warps:
        if matrix is not None and border and warp.border not in ("", border):
            image, matrix, border = _warp(image, matrix, border), None, ""
        matrix = warp.matrix if matrix is None else warp.matrix @ matrix
        border = border or warp.border
    return image if matrix is None else _warp(image, matrix, border)


def _warp(image: np.ndarray, matrix: np.ndarray, border: str) -> np.ndarray:
    """Bilinear; exact where every pixel comes to lie on another one by a flip."""
    height, width = image.shape[:2]
    (x, skew, right), (skew_too, y, down) = matrix[:2].tolist()
    if skew == skew_too == 0 and right == (width - 1) * (x < 0) and down == (height - 1) * (y < 0):
        if (x, y) == (1, 1):
            return image
        if (x, y) in _FLIPS:
            return cv2.flip(image, _FLIPS[x, y])
    mode, value = BORDERS[border or "reflect"]
    # OpenCV warps four channels in little more than half the time of three, to the same bits.
    warped = cv2.warpAffine(
        cv2.cvtColor(image, cv2.COLOR_RGB2RGBA),
        matrix[:2],
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=mode,
        borderValue=(value,) * 4,
    )
    return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)


def _tone_all(image: np.ndarray, tones: Sequence[Tone]) -> np.ndarray:
    """One table for all."""
    table = _VALUES
    for tone in tones:
        table = np.clip(tone.change(table, functools.partial(mean_grey, image, table)), 0, 255)
    return cv2.LUT(image, np.rint(table).astype(np.uint8)[:, np.newaxis])


def _change_all(image: np.ndarray, changes: Sequence[Pixels]) -> np.ndarray:
    for change in changes:
        image = change.change(image)
    return image


_CARRY_OUT = {Warp: _warp_all, Tone: _tone_all, Pixels: _change_all}
