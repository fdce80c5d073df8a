"""The one preprocessing: from a picture's bytes to what the network sees.

Training, evaluation, prediction and export all call these functions, and the settings travel with
the weights. Pictures stay uint8 until they are on the device: moving them costs a quarter.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from PIL import Image

from jaxall import errors
from jaxall.data import decoding

INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
# "imagenet": what the architecture's weights were trained with; "unit": [0, 1] as it is.
NORMALISATIONS = ("imagenet", "unit")


@dataclasses.dataclass(kw_only=True)
class PreprocessingSettings:
    """What an experiment may choose; the rest belongs to the architecture.

    Attributes:
        image_size: side of the square input in pixels; 0 for the architecture's own.
        normalisation: "imagenet" (the architecture's mean and deviation) or "unit" (0 to 1).
    """

    image_size: int = 0
    normalisation: str = "imagenet"

    def validate(self) -> None:
        """Raises UserError naming the setting, what it may be, and what came."""
        problems = []
        if self.image_size < 0:
            problems.append(
                f"preprocessing.image_size is 0 or a size in pixels; got {self.image_size}"
            )
        if self.normalisation not in NORMALISATIONS:
            problems.append(
                f"preprocessing.normalisation is one of {', '.join(NORMALISATIONS)}; "
                f"got {self.normalisation!r}"
            )
        errors.refuse(problems)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Size, interpolation and normalisation of a network's input.

    `mean` and `std` are of channels R, G, B scaled to [0, 1].

    Raises:
        UserError: a setting is out of range.
    """

    image_size: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        errors.refuse(_problems(self))

    @classmethod
    def for_model(
        cls,
        image_size: int,
        interpolation: str,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        normalisation: str,
    ) -> Self:
        """The preprocessing of an architecture whose ImageNet weights want `mean` and `std`.

        Args:
            image_size: Side of the square input in pixels.
            interpolation: One of `INTERPOLATIONS`.
            mean: Used with "imagenet" only.
            std: Used with "imagenet" only.
            normalisation: One of `NORMALISATIONS`.

        Raises:
            UserError: `normalisation` is another word, or a setting is out of range.
        """
        if normalisation not in NORMALISATIONS:
            raise errors.UserError(
                f"unknown normalisation {normalisation!r}; there are {', '.join(NORMALISATIONS)}"
            )
        if normalisation == "unit":
            mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        return cls(image_size=image_size, interpolation=interpolation, mean=mean, std=std)

    def load(self, data: bytes) -> np.ndarray:
        """Decodes a picture file's bytes and resizes: uint8 `[image_size, image_size, 3]`, RGB.

        Raises:
            UndecodableError: see `decoding.decode`.
        """
        return self.resize(decoding.decode(data))

    def resize(self, image: np.ndarray) -> np.ndarray:
        """Squashes the whole picture, uint8 `[H,W,3]`, to the square input; no crop.

        Antialiased, as torchvision's `resize` of a PIL image. Returns `image` itself where it has
        the size already.
        """
        size = self.image_size
        if image.shape == (size, size, 3):
            return image
        resample = INTERPOLATIONS[self.interpolation]
        return np.array(Image.fromarray(image).resize((size, size), resample))

    def normalise(self, images: Any) -> Any:
        """(x / 255 - mean) / std, as float32.

        Args:
            images: uint8 `[N,S,S,3]`, a numpy or a jax array (also under `jax.jit`).

        Returns:
            The same kind of array, float32 `[N,S,S,3]`.

        Raises:
            ValueError: other shape or dtype: normalising twice would go unseen.
        """
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise ValueError(
                f"images to normalise must be uint8 [N,S,S,3], not {images.dtype} {images.shape}"
            )
        mean = np.array(self.mean, np.float32).reshape(1, 1, 1, 3)
        std = np.array(self.std, np.float32).reshape(1, 1, 1, 3)
        return (images.astype(np.float32) / 255 - mean) / std

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, strings and lists."""
        return {**dataclasses.asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            UserError: fields are missing or unknown, or a setting is out of range.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if set(values) != names:
            raise errors.UserError(
                f"preprocessing settings must be {sorted(names)}, not {sorted(values)}"
            )
        mean, std = tuple(values["mean"]), tuple(values["std"])
        return cls(**{**values, "mean": mean, "std": std})


def _problems(settings: Preprocessing) -> list[str]:
    """A line for each setting that is out of range."""
    problems = []
    if settings.image_size < 1:
        problems.append(f"image_size must be at least 1, not {settings.image_size}")
    if settings.interpolation not in INTERPOLATIONS:
        problems.append(
            f"unknown interpolation {settings.interpolation!r}; there are "
            f"{', '.join(INTERPOLATIONS)}"
        )
    if len(settings.mean) != 3 or len(settings.std) != 3:
        problems.append(
            f"mean and std must have 3 channels, not {len(settings.mean)} and {len(settings.std)}"
        )
    if not all(value > 0 for value in settings.std):
        problems.append(f"std must be above 0, not {settings.std}")
    return problems
