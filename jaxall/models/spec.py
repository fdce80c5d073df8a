"""What others may know of an architecture without opening its file."""

import dataclasses
from collections.abc import Callable

from flax import linen as nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
OFFICIAL_FOLDER = "https://download.pytorch.org/models/"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """How ImageNet's pictures are brought to their size; the defaults are torchvision's.

    Attributes:
        image_size: side in pixels that is cropped to.
        resize_size: shorter side in pixels that comes before the crop.
        interpolation: "bilinear" or "bicubic".
    """

    image_size: int = 224
    resize_size: int = 256
    interpolation: str = "bilinear"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights(Preset):
    """One file of torchvision's ImageNet weights, and the preset that belongs to it.

    Attributes:
        file: its name, which ends in the first digits of its sha256.
    """

    file: str

    @property
    def url(self) -> str:
        """Its address."""
        return OFFICIAL_FOLDER + self.file

    @property
    def sha256_prefix(self) -> str:
        """First eight hexadecimal digits of its sha256."""
        return self.file.rsplit("-", 1)[1].removesuffix(".pth")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One architecture: how it is built, fed, counted, and where its ImageNet weights are.

    Attributes:
        name: torchvision's name of the builder, where it has one.
        build: makes the backbone; takes `dtype`, `axis_name`, `drop_path` and `remat` and returns
            a module that maps [N,H,W,3] to features [N,F].
        features: F.
        parameters: number of trainable values with the linear head of 1000 classes; without
            auxiliary heads.
        paper: where the architecture is described.
        weights: torchvision's, in the order of `OFFICIAL` in the registry; V1, then V2.
        preset: of a network that starts from none of them; that of the first.
        auxiliary: makes the heads that look at maps inside the backbone while it is trained; takes
            `classes`, `dtype` and `axis_name`. The backbone then has `with_maps`.
        renames: (pattern, replacement) pairs that turn a torch key into a Flax path, in order.
        ignored: patterns of torch keys that are not ported.
        flattened: (pattern of torch keys, (height, width)) of the dense layers that follow maps of
            that size, which torch flattens channel by channel.
        min_image_size: side in pixels below which nothing is left of the last maps.
        dropout: rate before the linear head in torchvision's builder.
        drop_path: rate of stochastic depth at the last block in torchvision's builder.
        mean: of channels R, G, B in [0, 1], which the weights expect to be taken off.
        std: and to be divided by.
    """

    name: str
    build: Callable[..., nn.Module]
    features: int
    parameters: int
    paper: str
    weights: tuple[Weights, ...] = ()
    preset: Preset = Preset()
    auxiliary: Callable[..., nn.Module] | None = None
    renames: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    flattened: tuple[tuple[str, tuple[int, int]], ...] = ()
    min_image_size: int = 1
    dropout: float = 0.0
    drop_path: float = 0.0
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
