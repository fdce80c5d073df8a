"""What others may know of an architecture without opening its file."""

import dataclasses
from collections.abc import Callable

from flax import linen as nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
OFFICIAL_FOLDER = "https://download.pytorch.org/models/"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One architecture: how it is built, fed, counted, and where its ImageNet weights are.

    Attributes:
        name: torchvision's name of the builder.
        build: makes the backbone; takes `dtype`, `axis_name`, `drop_path` and `remat` and returns
            a module that maps [N,H,W,3] to features [N,F].
        features: F.
        parameters: number of trainable values with the linear head of 1000 classes.
        image_size: side in pixels that the ImageNet preset crops to.
        min_image_size: side in pixels below which nothing is left of the last maps.
        resize_size: shorter side in pixels that the preset resizes to before its crop.
        interpolation: the preset's, "bilinear" or "bicubic".
        dropout: rate before the linear head in torchvision's builder.
        drop_path: rate of stochastic depth at the last block in torchvision's builder.
        paper: where the architecture is described.
        renames: (pattern, replacement) pairs that turn a torch key into a Flax path, in order.
        ignored: patterns of torch keys that have no counterpart here.
        file: name of torchvision's weights; it ends in the first digits of its sha256.
    """

    name: str
    build: Callable[..., nn.Module]
    features: int
    parameters: int
    image_size: int
    resize_size: int
    interpolation: str
    paper: str
    file: str
    renames: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...] = ()
    min_image_size: int = 1
    dropout: float = 0.0
    drop_path: float = 0.0
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @property
    def url(self) -> str:
        """Address of torchvision's ImageNet weights."""
        return OFFICIAL_FOLDER + self.file

    @property
    def sha256_prefix(self) -> str:
        """First eight hexadecimal digits of the official file's sha256."""
        return self.file.rsplit("-", 1)[1].removesuffix(".pth")
