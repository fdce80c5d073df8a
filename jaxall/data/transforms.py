"""Augmentations: each takes a picture and a random generator and returns a changed picture.

Pictures are uint8 `[H,W,3]`, RGB. A transform never writes into its input (it may return it), keeps
the shape, and draws exactly one number from the generator whatever its settings, so that changing
one transform's strength leaves the others' draws alone.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np

from jaxall import errors

# name: (OpenCV's border mode, value of the constant border)
BORDERS = {
    "reflect": (cv2.BORDER_REFLECT_101, 0),
    "black": (cv2.BORDER_CONSTANT, 0),
    "white": (cv2.BORDER_CONSTANT, 255),
}
# setting: (least, most), of whichever transform has it
RANGES = {"degrees": (0.0, 180.0), "probability": (0.0, 1.0), "strength": (0.0, 1.0)}


class Transform(Protocol):
    """A dataclass of settings that can be called."""

    def __call__(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Returns the changed picture, uint8 `[H,W,3]`, contiguous."""
        ...


@dataclasses.dataclass(kw_only=True)
class Rotate:
    """Turns about the picture's centre by an angle drawn uniformly from [-degrees, degrees].

    The border is what the corners are filled with: a smear goes on beyond the frame, so its mirror
    image ("reflect") looks like more of it, where "black" or "white" corners would mark the
    picture as an augmented one.
    """

    degrees: float = 20.0
    border: str = "reflect"

    def __call__(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draws the angle and turns."""
        return rotate(image, generator.uniform(-self.degrees, self.degrees), self.border)


@dataclasses.dataclass(kw_only=True)
class FlipHorizontal:
    """Swaps left and right."""

    probability: float = 0.5

    def __call__(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Flips, or returns `image` itself."""
        return cv2.flip(image, 1) if generator.random() < self.probability else image


@dataclasses.dataclass(kw_only=True)
class FlipVertical:
    """Swaps top and bottom."""

    probability: float = 0.5

    def __call__(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Flips, or returns `image` itself."""
        return cv2.flip(image, 0) if generator.random() < self.probability else image


@dataclasses.dataclass(kw_only=True)
class Brightness:
    """Multiplies by a factor drawn uniformly from [1 - strength, 1 + strength]."""

    strength: float = 0.1

    def __call__(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draws the factor and multiplies."""
        return brighten(image, generator.uniform(1 - self.strength, 1 + self.strength))


@dataclasses.dataclass(kw_only=True)
class Contrast:
    """Stretches about the mean grey by a factor from [1 - strength, 1 + strength], uniformly."""

    strength: float = 0.1

    def __call__(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draws the factor and stretches."""
        return stretch_contrast(image, generator.uniform(1 - self.strength, 1 + self.strength))


by_name: dict[str, type[Any]] = {
    transform.__name__: transform
    for transform in (Rotate, FlipHorizontal, FlipVertical, Brightness, Contrast)
}


def rotate(image: np.ndarray, degrees: float, border: str) -> np.ndarray:
    """Counter-clockwise about the centre, bilinear, the frame stays; `border` is of `BORDERS`."""
    height, width = image.shape[:2]
    mode, value = BORDERS[border]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return cv2.warpAffine(
        image,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=mode,
        borderValue=(value, value, value),
    )


def brighten(image: np.ndarray, factor: float) -> np.ndarray:
    """`factor` times each value, rounded to nearest and clipped; torchvision truncates."""
    return _blend(image, 0.0, factor)


def stretch_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Blends with the mean grey (ITU-R 601 luma, the mean not rounded).

    0 gives that grey everywhere, 1 the picture. Values are rounded to nearest and clipped;
    torchvision truncates.
    """
    return _blend(image, cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0], factor)


def apply(
    transforms: Sequence[Transform], image: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """One transform after the other, in their order.

    Raises:
        ValueError: `image` isn't uint8 `[H,W,3]`.
    """
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"a picture to transform must be uint8 [H,W,3], not {image.dtype} {image.shape}"
        )
    for transform in transforms:
        image = transform(image, generator)
    return image


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
        least, most = RANGES.get(setting, (-np.inf, np.inf))
        if setting in RANGES and not least <= value <= most:
            problems.append(f"{name}.{setting} must be from {least:g} to {most:g}, not {value}")
        if setting == "border" and value not in BORDERS:
            problems.append(f"unknown {name}.border {value!r}; there are {', '.join(BORDERS)}")
    return problems


def _blend(image: np.ndarray, grey: float, factor: float) -> np.ndarray:
    """Rounds grey + factor * (value - grey) half to even, through a table of the 256 values."""
    values = np.rint(grey + factor * (np.arange(256.0) - grey))
    return cv2.LUT(image, np.clip(values, 0, 255).astype(np.uint8))
