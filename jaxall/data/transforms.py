"""Augmentations: each draws at random what it does to a picture.

A transform says what it does as one of the operations of `fusing`: a warp, a tone, or a change of
the pixels. It draws exactly one number from the generator whatever its settings, so that changing
one transform's strength leaves the others' draws alone. At zero strength it changes nothing.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from jaxall import errors
from jaxall.data import fusing
from jaxall.data.colours import Brightness, Contrast, Gamma, Hue, Saturation, StainJitter
from jaxall.data.pixels import Blur, Cutout, Noise
from jaxall.data.warps import FlipHorizontal, FlipVertical, RandomCrop, Rotate, Shift

# setting: (least, most), of whichever transform has it, unless it is named with its transform
RANGES = {
    "degrees": (0.0, 180.0),
    "probability": (0.0, 1.0),
    "smallest": (0.1, 1.0),
    "strength": (0.0, 1.0),
    "Blur.strength": (0.0, 0.1),
    "Hue.strength": (0.0, 0.5),
}


class Transform(Protocol):
    """A dataclass of settings."""

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Operation:
        """What is done to one picture of this size."""
        ...


by_name: dict[str, type[Any]] = {
    transform.__name__: transform
    for transform in (
        Rotate,
        FlipHorizontal,
        FlipVertical,
        RandomCrop,
        Shift,
        Brightness,
        Contrast,
        Gamma,
        Hue,
        Saturation,
        StainJitter,
        Blur,
        Noise,
        Cutout,
    )
}


def apply(
    transforms: Sequence[Transform], image: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """The transforms in their order, uint8 `[H,W,3]`; `image` is not written into.

    All numbers are drawn first, transform by transform; then neighbouring transforms of one kind
    are carried out at once, see `fusing.apply`.

    Raises:
        ValueError: `image` isn't uint8 `[H,W,3]`.
    """
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"a picture to transform must be uint8 [H,W,3], not {image.dtype} {image.shape}"
        )
    height, width = image.shape[:2]
    drawn = [transform.draw(generator, height, width) for transform in transforms]
    return fusing.apply(drawn, image)


def limits(name: str, setting: str) -> tuple[float, float] | None:
    """The least and the most that a setting of the transform may be; None if it is no number."""
    return RANGES.get(f"{name}.{setting}", RANGES.get(setting))


def validate(transforms: Sequence[Any]) -> None:
    """Checks the settings of all transforms.

    Raises:
        UserError: names every setting that is out of range, and an unknown border.
    """
    errors.refuse(problem for transform in transforms for problem in _problems(transform))


def _problems(transform: Any) -> list[str]:
    """A line for each wrong setting of one transform."""
    name, problems = type(transform).__name__, []
    if name not in by_name:
        return [f"unknown transform {name!r}; there are {', '.join(by_name)}"]
    for setting, value in vars(transform).items():
        allowed = limits(name, setting)
        if allowed is not None and not allowed[0] <= value <= allowed[1]:
            least, most = allowed
            problems.append(f"{name}.{setting} must be from {least:g} to {most:g}, not {value}")
        if setting == "border" and value not in fusing.BORDERS:
            problems.append(
                f"unknown {name}.border {value!r}; there are {', '.join(fusing.BORDERS)}"
            )
    return problems
