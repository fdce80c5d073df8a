"""Pictures that stand out from the rest of their data set: blurred, blank, dark, bright, tinted."""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxall.data import checking, looking

BOUND = 3.5  # Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993
_NOTHING = 1e-9  # of a spread: rounding alone
BLANK_BELOW = 4.0  # grey levels of contrast: noise and shading alone reach that


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to stand out.

    Attributes:
        figure: what the figure is, for people.
        standing_out: given all that was looked at, the figure of each picture [N], and which
            of them stand out, bool [N].
    """

    figure: str
    standing_out: Callable[[checking.Checked], tuple[np.ndarray, np.ndarray]]


def robust_z(values: np.ndarray) -> np.ndarray:
    """Distances from the median in robust standard deviations [N].

    Those are 1.4826 times the median absolute deviation, which a few outliers don't widen; where
    half of the values are equal, 1.2533 times the mean one; 0 where all are.
    """
    if len(values) == 0:
        return np.zeros(0)
    offsets = values - np.median(values)
    sizes = np.abs(offsets)
    median, mean = float(np.median(sizes)), float(sizes.mean())
    spread = 1.4826 * median if median > _NOTHING else 1.2533 * mean
    return offsets / spread if spread > _NOTHING else np.zeros(len(values))


def find(checked: checking.Checked) -> dict[str, list[tuple[int, float]]]:
    """(position, figure) of the pictures that stand out, the furthest first, by `KINDS`' name."""
    found = {}
    for name, kind in KINDS.items():
        figures, is_out = kind.standing_out(checked)
        order = np.argsort(-np.abs(figures), kind="stable").tolist()
        found[name] = [(i, round(float(figures[i]), 3)) for i in order if is_out[i]]
    return found


def _of(name: str, checked: checking.Checked) -> np.ndarray:
    return np.array([getattr(one.quality, name) for one in checked.looked], np.float64)


def _blurred(checked: checking.Checked) -> tuple[np.ndarray, np.ndarray]:
    z = robust_z(np.log1p(_of("sharpness", checked)))
    return z, z < -BOUND


def _blank(checked: checking.Checked) -> tuple[np.ndarray, np.ndarray]:
    contrast = _of("contrast", checked)
    return contrast, contrast < BLANK_BELOW


def _dark(checked: checking.Checked) -> tuple[np.ndarray, np.ndarray]:
    z = robust_z(_of("brightness", checked))
    return z, z < -BOUND


def _bright(checked: checking.Checked) -> tuple[np.ndarray, np.ndarray]:
    z = robust_z(_of("brightness", checked))
    return z, z > BOUND


def _clipped(checked: checking.Checked) -> tuple[np.ndarray, np.ndarray]:
    z = robust_z(_of("clipped", checked))
    return z, z > BOUND


def _tinted(checked: checking.Checked) -> tuple[np.ndarray, np.ndarray]:
    """The largest of saturation, red less green, and blue less green, of what isn't black."""
    contents = checked.contents
    shown = contents.max(axis=3, keepdims=True) > looking.BLACK
    sums = np.where(shown, contents, 0).sum(axis=(1, 2), dtype=np.float64)
    means = sums / np.maximum(shown.sum(axis=(1, 2)), 1)
    z = np.stack(
        [
            robust_z(_of("saturation", checked)),
            robust_z(means[:, 0] - means[:, 1]),
            robust_z(means[:, 2] - means[:, 1]),
        ]
    )
    largest = np.take_along_axis(z, np.abs(z).argmax(axis=0)[None], axis=0)[0]
    return largest, np.abs(largest) > BOUND


_Z = "robust standard deviations from the data set's median"
KINDS = {
    "out of focus": Kind(figure=f"log sharpness, {_Z}", standing_out=_blurred),
    "blank": Kind(figure="contrast in grey levels", standing_out=_blank),
    "dark": Kind(figure=f"brightness, {_Z}", standing_out=_dark),
    "bright": Kind(figure=f"brightness, {_Z}", standing_out=_bright),
    "clipped": Kind(figure=f"share of clipped pixels, {_Z}", standing_out=_clipped),
    "of another colour": Kind(figure=f"saturation or hue, {_Z}", standing_out=_tinted),
}
