"""EfficientNet: mobile inverted bottlenecks, scaled in width, depth and resolution together.

Tan & Le, 2019, https://arxiv.org/abs/1905.11946
Squeeze and excitation: Hu et al., 2018, https://arxiv.org/abs/1709.01507
"""

import dataclasses
import functools
import math
from typing import Any

import jax
from flax import linen as nn

from jaxall.models import layers, remat
from jaxall.models.spec import ModelSpec, Weights

# (expansion, kernel, stride, output channels, blocks) of B0's seven stages
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
STEM = 32
DROP_PATH = 0.2  # torchvision's rate of stochastic depth at the last block, for all variants


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """A row of the table; sizes in pixels are those of torchvision's V1 preset."""

    width: float
    depth: float
    image_size: int
    resize_size: int
    dropout: float
    features: int
    parameters: int
    file: str
    epsilon: float = 1e-5
    momentum: float = 0.9  # share kept; torch's 0.1
    newer: tuple[Weights, ...] = ()

    @property
    def weights(self) -> tuple[Weights, ...]:
        """All official ones."""
        first = Weights(
            file=self.file,
            image_size=self.image_size,
            resize_size=self.resize_size,
            interpolation="bicubic",
        )
        return (first, *self.newer)


def _row(*values: Any, **rest: Any) -> Variant:
    names = [field.name for field in dataclasses.fields(Variant)]
    return Variant(**dict(zip(names, values, strict=False)), **rest)


_WIDE = {"epsilon": 1e-3, "momentum": 0.99}  # B5 to B7 come from TensorFlow's weights

# width, depth, image size, resize size, dropout, features, parameters, official file
VARIANTS = {
    "efficientnet_b0": _row(
        1.0, 1.0, 224, 256, 0.2, 1280, 5_288_548, "efficientnet_b0_rwightman-7f5810bc.pth"
    ),
    "efficientnet_b1": _row(
        *(1.0, 1.1, 240, 256, 0.2, 1280, 7_794_184, "efficientnet_b1_rwightman-bac287d4.pth"),
        newer=(Weights(file="efficientnet_b1-c27df63c.pth", image_size=240, resize_size=255),),
    ),
    "efficientnet_b2": _row(
        1.1, 1.2, 288, 288, 0.3, 1408, 9_109_994, "efficientnet_b2_rwightman-c35c1473.pth"
    ),
    "efficientnet_b3": _row(
        1.2, 1.4, 300, 320, 0.3, 1536, 12_233_232, "efficientnet_b3_rwightman-b3899882.pth"
    ),
    "efficientnet_b4": _row(
        1.4, 1.8, 380, 384, 0.4, 1792, 19_341_616, "efficientnet_b4_rwightman-23ab8bcd.pth"
    ),
    "efficientnet_b5": _row(
        1.6, 2.2, 456, 456, 0.4, 2048, 30_389_784, "efficientnet_b5_lukemelas-1a07897c.pth", **_WIDE
    ),
    "efficientnet_b6": _row(
        1.8, 2.6, 528, 528, 0.5, 2304, 43_040_704, "efficientnet_b6_lukemelas-24a108a5.pth", **_WIDE
    ),
    "efficientnet_b7": _row(
        2.0, 3.1, 600, 600, 0.5, 2560, 66_347_960, "efficientnet_b7_lukemelas-c5b4e57e.pth", **_WIDE
    ),
}


def _channels(base: int, width: float) -> int:
    """The multiple of 8 nearest to `base * width`, never less than 90 % of it."""
    wanted = base * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numerics:
    """How every layer of one network computes and normalises."""

    dtype: Any
    axis_name: str | None
    epsilon: float
    momentum: float


class ConvNorm(nn.Module):
    """Conv-BN, with SiLU if it `is_active`; [N,H,W,C] -> [N,h,w,D]."""

    features: int
    kernel_size: int
    numerics: Numerics
    stride: int = 1
    is_depthwise: bool = False
    is_active: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalises with the batch's statistics if `train`."""
        x = layers.Conv(
            self.features,
            self.kernel_size,
            self.stride,
            is_depthwise=self.is_depthwise,
            dtype=self.numerics.dtype,
            name="conv",
        )(x)
        activation = "silu" if self.is_active else "none"
        norm = layers.BatchNorm(
            **dataclasses.asdict(self.numerics), activation=activation, name="norm"
        )
        return norm(x, train=train)


class SqueezeExcite(nn.Module):
    """Scales each channel by what all positions say of it; [N,H,W,C] -> [N,H,W,C]."""

    squeezed: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Mean over positions, C -> squeezed -> C, sigmoid."""
        conv = functools.partial(layers.Conv, kernel_size=1, use_bias=True, dtype=self.dtype)
        scale = layers.global_average(x)[:, None, None, :]
        scale = nn.silu(conv(self.squeezed, name="fc1")(scale))
        return x * nn.sigmoid(conv(x.shape[-1], name="fc2")(scale))


class MBConv(nn.Module):
    """Expand, depthwise, squeeze-excite, project, add; [N,H,W,C] -> [N,H/stride,W/stride,D]."""

    expansion: int
    kernel_size: int
    stride: int
    features: int
    drop_path: float
    numerics: Numerics

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, positions: jax.Array | None) -> jax.Array:
        """The input is added where shapes allow; the branch is then dropped per example."""
        inputs = x.shape[-1]
        conv = functools.partial(ConvNorm, numerics=self.numerics)
        y = x
        if self.expansion > 1:
            y = conv(self.expansion * inputs, 1, name="expand")(y, train=train)
        y = conv(
            y.shape[-1], self.kernel_size, stride=self.stride, is_depthwise=True, name="depthwise"
        )(y, train=train)
        y = SqueezeExcite(max(1, inputs // 4), self.numerics.dtype, name="squeeze_excite")(y)
        y = conv(self.features, 1, is_active=False, name="project")(y, train=train)
        if self.stride > 1 or inputs != self.features:
            return y
        drop = layers.Dropout(self.drop_path, whole_example=True, name="drop_path")
        return x + drop(y, train=train, positions=positions)


class Stage(nn.Module):
    """Blocks of one resolution, the first of which may halve it."""

    settings: tuple[int, int, int, int, int]
    drop_paths: tuple[float, ...]
    numerics: Numerics
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, positions: jax.Array | None) -> jax.Array:
        """[N,H,W,C] -> [N,H/stride,W/stride,D]."""
        expansion, kernel_size, stride, features, count = self.settings
        for index in range(count):
            block = MBConv(
                expansion,
                kernel_size,
                stride if index == 0 else 1,
                features,
                self.drop_paths[index],
                self.numerics,
                name=f"block{index}",
            )
            x = remat.call(block, x, is_on=self.remat, train=train, positions=positions)
        return x


class EfficientNet(nn.Module):
    """Backbone; [N,H,W,3] -> features [N,F] float32 (F = 1280 for B0)."""

    stem: int
    stages: tuple[tuple[int, int, int, int, int], ...]
    drop_path: float
    numerics: Numerics
    remat: bool = False

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, positions: jax.Array | None = None
    ) -> jax.Array:
        """`positions` [N]: the examples' places in the global batch, for stochastic depth."""
        x = ConvNorm(self.stem, 3, self.numerics, stride=2, name="stem")(images, train=train)
        total, done = sum(count for *_, count in self.stages), 0
        for index, settings in enumerate(self.stages, 1):
            count = settings[-1]
            rates = tuple(self.drop_path * (done + i) / total for i in range(count))
            stage = Stage(settings, rates, self.numerics, self.remat, name=f"stage{index}")
            x = stage(x, train=train, positions=positions)
            done += count
        x = ConvNorm(4 * x.shape[-1], 1, self.numerics, name="top")(x, train=train)
        return layers.global_average(x)


def _build(
    name: str, *, dtype: Any, axis_name: str | None, drop_path: float, remat: bool
) -> EfficientNet:
    variant = VARIANTS[name]
    stages = tuple(
        (
            expansion,
            kernel,
            stride,
            _channels(features, variant.width),
            math.ceil(n * variant.depth),
        )
        for expansion, kernel, stride, features, n in STAGES
    )
    numerics = Numerics(
        dtype=dtype, axis_name=axis_name, epsilon=variant.epsilon, momentum=variant.momentum
    )
    return EfficientNet(_channels(STEM, variant.width), stages, drop_path, numerics, remat)


# torchvision numbers the parts of a block; the first stage has no expansion, so it counts from 0.
_RENAMES = (
    (r"^features\.0\.", "backbone.stem."),
    (r"^features\.8\.", "backbone.top."),
    (r"^features\.1\.(\d+)\.block\.0\.", r"backbone.stage1.block\1.depthwise."),
    (r"^features\.1\.(\d+)\.block\.1\.", r"backbone.stage1.block\1.squeeze_excite."),
    (r"^features\.1\.(\d+)\.block\.2\.", r"backbone.stage1.block\1.project."),
    (r"^features\.(\d)\.(\d+)\.block\.0\.", r"backbone.stage\1.block\2.expand."),
    (r"^features\.(\d)\.(\d+)\.block\.1\.", r"backbone.stage\1.block\2.depthwise."),
    (r"^features\.(\d)\.(\d+)\.block\.2\.", r"backbone.stage\1.block\2.squeeze_excite."),
    (r"^features\.(\d)\.(\d+)\.block\.3\.", r"backbone.stage\1.block\2.project."),
    (r"(stem|top|expand|depthwise|project)\.0\.", r"\1.conv."),
    (r"(stem|top|expand|depthwise|project)\.1\.", r"\1.norm."),
    (r"^classifier\.1\.", "head.dense."),
)

SPECS = tuple(
    ModelSpec(
        name=name,
        build=functools.partial(_build, name),
        features=variant.features,
        parameters=variant.parameters,
        dropout=variant.dropout,
        drop_path=DROP_PATH,
        paper="https://arxiv.org/abs/1905.11946",
        weights=variant.weights,
        preset=variant.weights[0],
        min_image_size=1,  # every halving is padded
        renames=_RENAMES,
    )
    for name, variant in VARIANTS.items()
)
