"""The one preprocessing: from a picture's bytes to what the network sees.

Training, evaluation, prediction and export all call these functions, and the settings travel with
the weights. Pictures stay uint8 until they are on the device: moving them costs a quarter.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from PIL import Image

from jaxall import errors
from jaxall.data import decoding, region

INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
# "imagenet": what the architecture's weights were trained with; "unit": [0, 1] as it is.
NORMALISATIONS = ("imagenet", "unit")
MOST_MASKED = 0.5  # of each side: beyond, the middle of the picture would go
MOST_SIDE = math.isqrt(decoding.MAX_PIXELS)  # of a crop or an input, in pixels


@dataclasses.dataclass(kw_only=True)
class PreprocessingSettings:
    """What an experiment may choose; the rest belongs to the architecture.

    Attributes:
        image_size: side of the square input in pixels; 0 for the architecture's own.
        normalisation: "imagenet" (the architecture's mean and deviation) or "unit" (0 to 1).
        crop: side in pixels of the file of the square that is cut out of the picture's middle and
            then resized; 0 for the whole picture. With a crop of the image size nothing is
            resized, and the size of a cell stays what the microscope made it.
        mask: share of the width and of the height, of the lower right corner that is painted
            over, where scale bars are burnt in, at least a pixel each; (0, 0) for none.
        greyscale: takes the colour away. The control experiment: what colour alone gives away,
            such as the stain of a class, is then out of reach.
    """

    image_size: int = 0
    normalisation: str = "imagenet"
    crop: int = 0
    mask: tuple[float, float] = (0.0, 0.0)
    greyscale: bool = False

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
        problems += [f"preprocessing.{line}" for line in _problems_of_region(self)]
        errors.refuse(problems)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What is seen of a picture, and how large and how bright.

    `mean` and `std` are of channels R, G, B scaled to [0, 1]; `crop`, `mask` and `greyscale` are
    those of `PreprocessingSettings`.

    Raises:
        UserError: a setting is out of range.
    """

    image_size: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop: int = 0
    mask: tuple[float, float] = (0.0, 0.0)
    greyscale: bool = False

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
        crop: int = 0,
        mask: tuple[float, float] = (0.0, 0.0),
        greyscale: bool = False,
    ) -> Self:
        """The preprocessing of an architecture whose ImageNet weights want `mean` and `std`.

        Args:
            image_size: Side of the square input in pixels.
            interpolation: One of `INTERPOLATIONS`.
            mean: Used with "imagenet" only.
            std: Used with "imagenet" only.
            normalisation: One of `NORMALISATIONS`.
            crop: See `PreprocessingSettings`, as for the next two.
            mask: Shares of width and height.
            greyscale: Whether colour is taken away.

        Raises:
            UserError: `normalisation` is another word, or a setting is out of range.
        """
        if normalisation not in NORMALISATIONS:
            raise errors.UserError(
                f"unknown normalisation {normalisation!r}; there are {', '.join(NORMALISATIONS)}"
            )
        if normalisation == "unit":
            mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        return cls(
            image_size=image_size,
            interpolation=interpolation,
            mean=mean,
            std=std,
            crop=crop,
            mask=mask,
            greyscale=greyscale,
        )

    def load(self, data: bytes) -> np.ndarray:
        """A picture file's bytes, decoded and as `resize` leaves them.

        Raises:
            UndecodableError: see `decoding.decode`.
        """
        return self.resize(decoding.decode(data))

    def resize(self, image: np.ndarray) -> np.ndarray:
        """All but the normalisation, of a picture uint8 `[H,W,3]`, RGB.

        Cuts the middle out, squashes what there is to the square input (antialiased, as
        torchvision's `resize` of a PIL image), paints the corner over and takes the colour away,
        each if the settings say so.

        Returns:
            uint8 `[image_size, image_size, 3]`; `image` itself where nothing is to be done.
        """
        if self.crop:
            image = region.middle(image, self.crop)
        size = self.image_size
        if image.shape != (size, size, 3):
            resample = INTERPOLATIONS[self.interpolation]
            image = np.array(Image.fromarray(image).resize((size, size), resample))
        if any(self.mask):
            width, height = (max(1, round(share * size)) for share in self.mask)
            image = region.without_corner(image, width, height)
        if self.greyscale:
            image = np.array(Image.fromarray(image).convert("L").convert("RGB"))
        return image

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
        values = dataclasses.asdict(self)
        return {key: list(x) if isinstance(x, tuple) else x for key, x in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; a run from before a setting was there has its default.

        Raises:
            UserError: fields are missing or unknown, or a setting is out of range.
        """
        fields = dataclasses.fields(cls)
        names = {field.name for field in fields}
        needed = {field.name for field in fields if field.default is dataclasses.MISSING}
        if not needed <= set(values) <= names:
            raise errors.UserError(
                f"preprocessing settings must be {sorted(names)}, not {sorted(values)}"
            )
        plain: dict[str, Any] = {
            key: tuple(x) if isinstance(x, list) else x for key, x in values.items()
        }
        return cls(**plain)


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
    return problems + _problems_of_region(settings)


def _problems_of_region(settings: Preprocessing | PreprocessingSettings) -> list[str]:
    """A line for each setting of what is seen that can't be."""
    crop, mask, problems = settings.crop, settings.mask, []
    for name in ("image_size", "crop"):
        if (came := getattr(settings, name)) > MOST_SIDE:
            problems.append(f"{name} is at most {MOST_SIDE:,} pixels; got {came}")
    if crop < 0:
        problems.append(f"crop is 0 or a size in pixels; got {crop}")
    if len(mask) != 2 or not (all(0 < x <= MOST_MASKED for x in mask) or not any(mask)):
        problems.append(
            "mask is two shares, of the width and of the height, both 0 or both above 0 and at "
            f"most {MOST_MASKED:g}; got {mask}"
        )
    return problems
