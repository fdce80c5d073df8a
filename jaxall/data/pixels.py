"""Augmentations that take detail away: out of focus, noisy, covered."""

import dataclasses
import statistics

import cv2
import numpy as np

from jaxall.data import chance, fusing


@dataclasses.dataclass(kw_only=True)
class Blur:
    """Blurs with a Gaussian whose sigma is drawn uniformly from [0, strength * side].

    A share of the shorter side, not pixels, so that the same setting is the same defocus at every
    image size: 0.005 is 1.1 pixels of 224.
    """

    strength: float = 0.005

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Operation:
        """Draws sigma."""
        sigma = generator.uniform(0.0, self.strength) * min(height, width)
        if sigma == 0:
            return fusing.IDENTITY
        return fusing.Pixels(
            lambda image: cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
        )


@dataclasses.dataclass(kw_only=True)
class Noise:
    """Adds normal noise whose deviation is drawn uniformly from [0, strength * 255].

    Each pixel and channel on its own; values are clipped. The noise is one of 256 equally likely
    values, at most 2.9 deviations: out of a table it comes five times as fast as from the
    distribution itself, and all is rounded to 256 levels in the end.
    """

    strength: float = 0.02

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Operation:
        """Draws the deviation, and the noise itself."""
        chances = chance.fork(generator)
        deviation = 255 * chances.uniform(0.0, self.strength)
        if deviation == 0:
            return fusing.IDENTITY

        def change(image: np.ndarray) -> np.ndarray:
            chosen = np.frombuffer(chances.bytes(image.size), np.uint8).reshape(image.shape)
            noise = cv2.LUT(chosen, (deviation * _NORMAL).astype(np.float32))
            return cv2.add(image, noise, dtype=cv2.CV_8U)

        return fusing.Pixels(change)


@dataclasses.dataclass(kw_only=True)
class Cutout:
    """Covers a square whose side is drawn uniformly from [0, strength] of the picture's shorter.

    It lies anywhere in the picture, whole, and has the picture's mean colour: the covered part
    says nothing, and neither brightness nor colour of the whole tells that it is covered. (DeVries
    & Taylor, 2017, https://arxiv.org/abs/1708.04552)
    """

    strength: float = 0.3

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Operation:
        """Draws side and place."""
        chances = chance.fork(generator)
        side = round(chances.uniform(0.0, self.strength) * min(height, width))
        if side == 0:
            return fusing.IDENTITY
        top, left = chances.integers((height - side + 1, width - side + 1))

        def change(image: np.ndarray) -> np.ndarray:
            covered = image.copy()
            covered[top : top + side, left : left + side] = np.rint(cv2.mean(image)[:3])
            return covered

        return fusing.Pixels(change)


def _normal_values() -> np.ndarray:
    """The middles of 256 equally likely parts of the normal distribution, of deviation 1."""
    values = np.array([statistics.NormalDist().inv_cdf((k + 0.5) / 256) for k in range(256)])
    return values / values.std()


_NORMAL = _normal_values()
