"""ResNet: every block adds to its input instead of replacing it.

He et al., 2016, https://arxiv.org/abs/1512.03385
As in torchvision, a bottleneck halves the maps in its 3x3 convolution, not in its first.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxall.models import layers, pooling, remat
from jaxall.models.spec import ModelSpec, Weights

# name: (has bottlenecks, blocks per stage, parameters, official files V1 and V2)
VARIANTS = {
    "resnet18": (False, (2, 2, 2, 2), 11_689_512, ("resnet18-f37072fd.pth",)),
    "resnet34": (False, (3, 4, 6, 3), 21_797_672, ("resnet34-b627a593.pth",)),
    "resnet50": (
        True,
        (3, 4, 6, 3),
        25_557_032,
        ("resnet50-0676ba61.pth", "resnet50-11ad3fa6.pth"),
    ),
    "resnet101": (
        True,
        (3, 4, 23, 3),
        44_549_160,
        ("resnet101-63fe2227.pth", "resnet101-cd907fc2.pth"),
    ),
    "resnet152": (
        True,
        (3, 8, 36, 3),
        60_192_808,
        ("resnet152-394f9c45.pth", "resnet152-f82ba261.pth"),
    ),
}
RESIZE_SIZES = (256, 232)  # of V1 and V2
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4  # channels that a bottleneck ends in, in widths


class Downsample(nn.Module):
    """Conv1x1-BN, for an input that the branch's shape doesn't fit; [N,H,W,C] -> [N,h,w,D]."""

    features: int
    stride: int
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalises with the batch's statistics if `train`."""
        x = layers.Conv(self.features, 1, self.stride, dtype=self.dtype, name="conv")(x)
        norm = layers.BatchNorm(axis_name=self.axis_name, dtype=self.dtype, name="norm")
        return norm(x, train=train)


class Block(nn.Module):
    """A branch of Conv-BN-ReLU, added to its input; [N,H,W,C] -> [N,H/stride,W/stride,D].

    Attributes:
        convs: (channels, kernel size, stride) of the branch; the last has no ReLU of its own.
    """

    convs: tuple[tuple[int, int, int], ...]
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """ReLU comes behind the sum."""
        y = x
        for index, (features, size, stride) in enumerate(self.convs, 1):
            y = layers.Conv(features, size, stride, dtype=self.dtype, name=f"conv{index}")(y)
            activation = "relu" if index < len(self.convs) else "none"
            norm = layers.BatchNorm(
                activation=activation,
                axis_name=self.axis_name,
                dtype=self.dtype,
                name=f"norm{index}",
            )
            y = norm(y, train=train)
        if x.shape != y.shape:
            stride = max(stride for *_, stride in self.convs)
            down = Downsample(y.shape[-1], stride, self.dtype, self.axis_name, name="downsample")
            x = down(x, train=train)
        return nn.relu(x + y)


def _convs(width: int, stride: int, *, is_bottleneck: bool) -> tuple[tuple[int, int, int], ...]:
    if is_bottleneck:
        return ((width, 1, 1), (width, 3, stride), (EXPANSION * width, 1, 1))
    return ((width, 3, stride), (width, 3, 1))


class Stage(nn.Module):
    """Blocks of one resolution, the first of which may halve it; [N,H,W,C] -> [N,h,w,D]."""

    count: int
    width: int
    stride: int
    is_bottleneck: bool
    dtype: Any
    axis_name: str | None
    remat: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """D is the width, or `EXPANSION` times it."""
        for index in range(self.count):
            stride = self.stride if index == 0 else 1
            convs = _convs(self.width, stride, is_bottleneck=self.is_bottleneck)
            block = Block(convs, self.dtype, self.axis_name, name=f"block{index}")
            x = remat.call(block, x, is_on=self.remat, train=train)
        return x


class ResNet(nn.Module):
    """Backbone; [N,H,W,3] -> features [N,F] float32 (F = 2048 for ResNet-152)."""

    is_bottleneck: bool
    counts: tuple[int, ...]
    dtype: Any = jnp.float32
    axis_name: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, positions: jax.Array | None = None
    ) -> jax.Array:
        """`positions` is for architectures with dropout in the backbone; unused here."""
        x = layers.Conv(WIDTHS[0], 7, 2, dtype=self.dtype, name="conv1")(images)
        norm = layers.BatchNorm(
            activation="relu", axis_name=self.axis_name, dtype=self.dtype, name="norm1"
        )
        x = pooling.max_pool(norm(x, train=train), 3, 2, padding=1)
        for index, (count, width) in enumerate(zip(self.counts, WIDTHS, strict=True), 1):
            stage = Stage(
                count,
                width,
                1 if index == 1 else 2,
                self.is_bottleneck,
                self.dtype,
                self.axis_name,
                self.remat,
                name=f"stage{index}",
            )
            x = stage(x, train=train)
        return layers.global_average(x)


def _build(
    name: str, *, dtype: Any, axis_name: str | None, drop_path: float, remat: bool
) -> ResNet:
    del drop_path  # as published, no branch is dropped
    is_bottleneck, counts, *_ = VARIANTS[name]
    return ResNet(is_bottleneck, counts, dtype, axis_name, remat)


SPECS = tuple(
    ModelSpec(
        name=name,
        build=functools.partial(_build, name),
        features=WIDTHS[-1] * (EXPANSION if is_bottleneck else 1),
        parameters=parameters,
        paper="https://arxiv.org/abs/1512.03385",
        weights=tuple(
            Weights(file=file, resize_size=size)
            for file, size in zip(files, RESIZE_SIZES, strict=False)
        ),
        min_image_size=1,  # every halving is padded
        renames=(
            (r"^layer(\d)\.(\d+)\.", r"stage\1.block\2."),
            (r"\.downsample\.0\.", ".downsample.conv."),
            (r"\.downsample\.1\.", ".downsample.norm."),
            (r"(^|\.)bn(\d)\.", r"\1norm\2."),
            (r"^(stage|conv|norm)", r"backbone.\1"),
            (r"^fc\.", "head.dense."),
        ),
    )
    for name, (is_bottleneck, _, parameters, files) in VARIANTS.items()
)
