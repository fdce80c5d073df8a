"""VGG: nothing but 3x3 convolutions, halvings, and wide dense layers behind them.

Simonyan & Zisserman, 2015, https://arxiv.org/abs/1409.1556
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxall.models import layers, pooling, remat
from jaxall.models.spec import ModelSpec, Weights

# name: (convolutions per stage, with batch norm, parameters, official file)
VARIANTS = {
    "vgg16": ((2, 2, 3, 3, 3), False, 138_357_544, "vgg16-397923af.pth"),
    "vgg16_bn": ((2, 2, 3, 3, 3), True, 138_365_992, "vgg16_bn-6c64b313.pth"),
    "vgg19": ((2, 2, 4, 4, 4), False, 143_667_240, "vgg19-dcbb9e9d.pth"),
    "vgg19_bn": ((2, 2, 4, 4, 4), True, 143_678_248, "vgg19_bn-c79401a0.pth"),
}
WIDTHS = (64, 128, 256, 512, 512)
GRID = 7  # rows and columns that the last maps are averaged to, whatever their size
DENSE = 4096
DROPOUT = 0.5


class Stage(nn.Module):
    """3x3 convolutions with ReLU, then the largest of 2x2; [N,H,W,C] -> [N,H//2,W//2,D]."""

    count: int
    features: int
    has_norm: bool
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Odd rows and columns at the end are dropped, as in torch."""
        for index in range(1, self.count + 1):
            # Torchvision's have a bias in front of a batch norm too, which takes it away again.
            conv = layers.Conv(
                self.features, 3, use_bias=True, dtype=self.dtype, name=f"conv{index}"
            )
            x = conv(x)
            if self.has_norm:
                norm = layers.BatchNorm(
                    activation="relu",
                    axis_name=self.axis_name,
                    dtype=self.dtype,
                    name=f"norm{index}",
                )
                x = norm(x, train=train)
            else:
                x = nn.relu(x)
        return pooling.max_pool(x, 2, 2)


class VGG(nn.Module):
    """Backbone with all dense layers but the last; [N,H,W,3] -> features [N,4096] float32."""

    counts: tuple[int, ...]
    has_norm: bool
    dtype: Any = jnp.float32
    axis_name: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, positions: jax.Array | None = None
    ) -> jax.Array:
        """`positions` [N]: the examples' places in the global batch, for dropout.

        The features are not dropped out: that is the head's first doing.
        """
        x = images
        for index, (count, width) in enumerate(zip(self.counts, WIDTHS, strict=True), 1):
            stage = Stage(
                count, width, self.has_norm, self.dtype, self.axis_name, name=f"stage{index}"
            )
            x = remat.call(stage, x, is_on=self.remat, train=train)
        x = pooling.adaptive_average(x, GRID)
        dense = functools.partial(nn.Dense, DENSE, dtype=self.dtype, kernel_init=layers.linear_init)
        x = nn.relu(dense(name="fc1")(x.reshape(len(x), -1)))
        x = layers.Dropout(DROPOUT, name="dropout")(x, train=train, positions=positions)
        return nn.relu(dense(name="fc2")(x)).astype(jnp.float32)


def _build(name: str, *, dtype: Any, axis_name: str | None, drop_path: float, remat: bool) -> VGG:
    del drop_path  # VGG has no residual branch to drop
    counts, has_norm, *_ = VARIANTS[name]
    return VGG(counts, has_norm, dtype, axis_name, remat)


def _renames(counts: tuple[int, ...], has_norm: bool) -> Iterator[tuple[str, str]]:
    """Torchvision numbers convolutions, norms, ReLUs and pools in one row."""
    place = 0
    for stage, count in enumerate(counts, 1):
        for index in range(1, count + 1):
            yield rf"^features\.{place}\.", f"backbone.stage{stage}.conv{index}."
            if has_norm:
                place += 1
                yield rf"^features\.{place}\.", f"backbone.stage{stage}.norm{index}."
            place += 2
        place += 1
    yield r"^classifier\.0\.", "backbone.fc1."
    yield r"^classifier\.3\.", "backbone.fc2."
    yield r"^classifier\.6\.", "head.dense."


SPECS = tuple(
    ModelSpec(
        name=name,
        build=functools.partial(_build, name),
        features=DENSE,
        parameters=parameters,
        paper="https://arxiv.org/abs/1409.1556",
        weights=(Weights(file=file),),
        min_image_size=32,  # five halvings that drop an odd row
        dropout=DROPOUT,
        renames=tuple(_renames(counts, has_norm)),
        flattened=((r"^classifier\.0\.weight$", (GRID, GRID)),),
    )
    for name, (counts, has_norm, parameters, file) in VARIANTS.items()
)
