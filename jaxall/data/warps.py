"""Augmentations that move the pixels; neighbours of this kind interpolate once, see `fusing`."""

import dataclasses

import cv2
import numpy as np

from jaxall.data import chance, fusing


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
class RandomCrop:
    """Enlarges a window to the whole frame; its side is a share drawn from [smallest, 1].

    The window has the frame's proportions (a square one in a square picture), lies anywhere inside
    of it with equal chance, and is enlarged bilinearly. Its place is not rounded to whole pixels.
    """

    smallest: float = 0.8

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Warp:
        """Draws side and place."""
        chances = chance.fork(generator)
        side = chances.uniform(self.smallest, 1.0)
        # From the middle of the first pixel to that of the last: nothing lies outside.
        left, top = (1 - side) * chances.random(2) * (width - 1, height - 1)
        matrix = [[1 / side, 0, -left / side], [0, 1 / side, -top / side], [0, 0, 1]]
        return fusing.Warp(np.array(matrix))


@dataclasses.dataclass(kw_only=True)
class Shift:
    """Moves the picture by up to `strength` of its side, across and down independently.

    By whole pixels, so that alone it blurs nothing. The border is that of `Rotate`, with which it
    is carried out at once if both have the same.
    """

    strength: float = 0.1
    border: str = "reflect"

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Warp:
        """Draws both distances."""
        shares = chance.fork(generator).uniform(-self.strength, self.strength, 2)
        matrix = np.eye(3)
        matrix[:2, 2] = np.rint(shares * (width, height))
        return fusing.Warp(matrix, self.border)
