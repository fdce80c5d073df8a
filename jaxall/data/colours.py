"""Augmentations of brightness and colour, as microscopes, cameras and stains differ in them."""

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np

from jaxall.data import chance, fusing

# Optical densities of R, G, B that haematoxylin, eosin and diaminobenzidine leave, a row a stain.
# Ruifrok & Johnston, 2001, Anal. Quant. Cytol. Histol. 23, 291
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
# value: logarithm of the light that is let through; one level more, for that of 0 is infinite
_LOGARITHMS = np.log(np.arange(1, 257) / 256).astype(np.float32)


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


@dataclasses.dataclass(kw_only=True)
class Gamma:
    """Raises values in [0, 1] to an exponent drawn from [1 / (1 + strength), 1 + strength].

    Its logarithm is drawn uniformly, so that darker and brighter are as likely. Black and white
    stay, and the three channels are treated alike.
    """

    strength: float = 0.2

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Operation:
        """Draws the exponent."""
        exponent = (1 + self.strength) ** generator.uniform(-1.0, 1.0)
        if exponent == 1:
            return fusing.IDENTITY
        return fusing.Tone(lambda values, grey: 255 * (values / 255) ** exponent)


@dataclasses.dataclass(kw_only=True)
class Hue:
    """Turns the hue by a share of the circle drawn uniformly from [-strength, strength].

    In HSV, not rounded on the way; grey stays as it is.
    """

    strength: float = 0.02

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Operation:
        """Draws the share."""
        turn = generator.uniform(-self.strength, self.strength)
        if turn == 0:
            return fusing.IDENTITY

        def change(image: np.ndarray) -> np.ndarray:
            hsv = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2HSV)
            hue = hsv[..., 0]
            hue += 360 * (turn % 1)
            hue -= np.float32(360) * (hue >= 360)  # not all of OpenCV's code takes 370 for 10
            return _to_bytes(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))

        return fusing.Pixels(change)


@dataclasses.dataclass(kw_only=True)
class Saturation:
    """Stretches each pixel about its own grey by a factor from [1 - strength, 1 + strength].

    Drawn uniformly. Grey is the ITU-R 601 luma, not rounded; values are clipped.
    """

    strength: float = 0.1

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Operation:
        """Draws the factor."""
        factor = generator.uniform(1 - self.strength, 1 + self.strength)
        if factor == 1:
            return fusing.IDENTITY
        matrix = factor * np.eye(3) + (1 - factor) * np.array([fusing.LUMA])

        def change(image: np.ndarray) -> np.ndarray:
            # On floats: of integers OpenCV rounds the matrix too, and grey would get a tint.
            return _to_bytes(cv2.transform(image.astype(np.float32), matrix))

        return fusing.Pixels(change)


@dataclasses.dataclass(kw_only=True)
class StainJitter:
    """Makes each of three stains stronger or weaker.

    Optical densities are taken apart into the amounts of haematoxylin, eosin and diaminobenzidine;
    each amount is multiplied by 1 + a and increased by b, where all six numbers are drawn uniformly
    from [-strength, strength], and the light that passes is put together again. An amount of 1 lets
    a tenth of the light through. (Tellez et al., 2018, https://doi.org/10.1109/TMI.2018.2820199;
    amounts below 0 are kept, so that every colour survives.) The blue and the red of blood smears'
    Romanowsky stains lie close to the first two.
    """

    strength: float = 0.05

    def draw(self, generator: np.random.Generator, height: int, width: int) -> fusing.Operation:
        """Draws the six numbers."""
        a, b = chance.fork(generator).uniform(-self.strength, self.strength, (2, 3))
        if self.strength == 0:
            return fusing.IDENTITY
        unit = STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)
        # All of it is linear in the logarithm of the light: one matrix and one summand.
        matrix = (np.linalg.inv(unit) @ np.diag(1 + a) @ unit).T
        summand = np.log(256) - np.log(10) * b @ unit
        affine = np.column_stack([matrix, summand])

        def change(image: np.ndarray) -> np.ndarray:
            logarithms = cv2.transform(cv2.LUT(image, _LOGARITHMS), affine)
            return _to_bytes(cv2.exp(logarithms), -1.0)

        return fusing.Pixels(change)


def _to_bytes(values: np.ndarray, summand: float = 0.0) -> np.ndarray:
    """The sum as uint8, rounded to nearest and clipped, in one pass."""
    return cv2.addWeighted(values, 1.0, values, 0.0, summand, dtype=cv2.CV_8U)
