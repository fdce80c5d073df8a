"""Augmentations: each draws at random what it does to a picture.

A transform says what it does as one of the operations of `fusing`: a warp, a tone, or a change of
the pixels. It draws exactly one number from the generator whatever its settings, so that changing
one transform's strength leaves the others' draws alone. At zero strength it changes nothing.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import cv2
import numpy as np

from jaxall import errors
from jaxall.data import fusing

# setting: (least, most), of whichever transform has it
RANGES = {"degrees": (0.0, 180.0), "probability": (0.0, 1.0), "strength": (0.0, 1.0)}


class Transform(Protocol):
    """A dataclass of settings."""

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Operation:
        """What is done to one picture of this size."""
        ...


@dataclasses.dataclass(kw_only=True)
class Rotate:
    """Turns about the picture's centre by an angle drawn uniformly from [-degrees, degrees].

    Counter-clockwise, bilinear, the frame stays. The border is what the corners are filled with: a
    smear goes on beyond the frame, so its mirror image ("reflect") looks like more of it, where
    "black" or "white" corners would mark the picture as an augmented one.
    """

    degrees: float = 20.0
    border: str = "reflect"

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Warp:
        """Draws the angle."""
        angle = generator.uniform(-self.degrees, self.degrees)
        matrix = np.eye(3)
        matrix[:2] = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
        return fusing.Warp(matrix, self.border)


@dataclasses.dataclass(kw_only=True)
class FlipHorizontal:
    """Swaps left and right."""

    probability: float = 0.5

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Warp:
        """Draws whether."""
        is_swapped = generator.random() < self.probability
        return fusing.Warp(fusing.mirrored(height, width, across=is_swapped, down=False))


@dataclasses.dataclass(kw_only=True)
class FlipVertical:
    """Swaps top and bottom."""

    probability: float = 0.5

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Warp:
        """Draws whether."""
        is_swapped = generator.random() < self.probability
        return fusing.Warp(fusing.mirrored(height, width, across=False, down=is_swapped))


@dataclasses.dataclass(kw_only=True)
class Brightness:
    """Multiplies by a factor drawn uniformly from [1 - strength, 1 + strength], and clips."""

    strength: float = 0.1

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Operation:
        """Draws the factor."""
        factor = generator.uniform(1 - self.strength, 1 + self.strength)
        if factor == 1:
            return fusing.IDENTITY
        return fusing.Tone(lambda values, grey: factor * values)


@dataclasses.dataclass(kw_only=True)
class Contrast:
    """Stretches about the mean grey by a factor from [1 - strength, 1 + strength], uniformly.

    A factor of 0 would give that grey everywhere. The mean is of the ITU-R 601 luma of the picture
    as the transforms before have left it, not rounded. Values are clipped.
    """

    strength: float = 0.1

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Operation:
        """Draws the factor."""
        factor = generator.uniform(1 - self.strength, 1 + self.strength)
        if factor == 1:
            return fusing.IDENTITY

        def stretch(values: np.ndarray, measure_grey: Callable[[], float]) -> np.ndarray:
            grey = measure_grey()
            return grey + factor * (values - grey)

        return fusing.Tone(stretch)


by_name: dict[str, type[Any]] = {
    transform.__name__: transform
    for transform in (Rotate, FlipHorizontal, FlipVertical, Brightness, Contrast)
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
        if setting == "border" and value not in fusing.BORDERS:
            problems.append(
                f"unknown {name}.border {value!r}; there are {', '.join(fusing.BORDERS)}"
            )
    return problems
