"""GoogLeNet: four branches side by side, and two more heads while it learns.

Szegedy et al., 2015, https://arxiv.org/abs/1409.4842
With batch normalisation and 3x3 kernels where the paper has 5x5, as in torchvision.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxall.models import layers, pooling, remat
from jaxall.models.spec import ModelSpec, Weights

# name: channels of (1x1, before the 3x3, 3x3, before the "5x5", "5x5", behind the pool)
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
POOLS = {"3b": 3, "4e": 2}  # window of the pool behind
WATCHED = ("4a", "4d")  # behind these are the auxiliary heads
FEATURES = 1024
EPSILON = 1e-3
GRID = 4  # rows and columns that an auxiliary head averages its maps to
DROPOUT, AUXILIARY_DROPOUT = 0.2, 0.7


class ConvNorm(nn.Module):
    """Conv-BN-ReLU; [N,H,W,C] -> [N,h,w,D]."""

    features: int
    kernel_size: int
    stride: int = 1
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalises with the batch's statistics if `train`."""
        conv = layers.Conv(
            self.features, self.kernel_size, self.stride, dtype=self.dtype, name="conv"
        )
        norm = layers.BatchNorm(
            epsilon=EPSILON,
            activation="relu",
            axis_name=self.axis_name,
            dtype=self.dtype,
            name="norm",
        )
        return norm(conv(x), train=train)


class Inception(nn.Module):
    """1x1, two of 1x1-3x3, and pool-1x1, one behind the other; [N,H,W,C] -> [N,H,W,D]."""

    widths: tuple[int, ...]
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """D is the sum of what the branches end in."""

        def conv(name: str, x: jax.Array, width: int, size: int) -> jax.Array:
            module = ConvNorm(width, size, dtype=self.dtype, axis_name=self.axis_name, name=name)
            return module(x, train=train)

        one, reduced3, three, reduced5, five, pooled = self.widths
        branches = [
            conv("branch1", x, one, 1),
            conv("branch2", conv("branch2_reduce", x, reduced3, 1), three, 3),
            conv("branch3", conv("branch3_reduce", x, reduced5, 1), five, 3),
            conv("branch4", pooling.max_pool(x, 3, 1, padding=1), pooled, 1),
        ]
        return jnp.concatenate(branches, -1)


class GoogLeNet(nn.Module):
    """Backbone; [N,H,W,3] -> features [N,1024] float32."""

    dtype: Any = jnp.float32
    axis_name: str | None = None
    remat: bool = False

    def __call__(
        self, images: jax.Array, *, train: bool, positions: jax.Array | None = None
    ) -> jax.Array:
        """`positions` is for architectures with dropout in the backbone; unused here."""
        return self.with_maps(images, train=train, positions=positions)[0]

    @nn.compact
    def with_maps(
        self, images: jax.Array, *, train: bool, positions: jax.Array | None = None
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """The features, and the maps that `Auxiliary` looks at."""
        del positions
        conv = functools.partial(ConvNorm, dtype=self.dtype, axis_name=self.axis_name)
        x = conv(64, 7, 2, name="conv1")(images, train=train)
        x = pooling.max_pool(x, 3, 2, overhangs=True)
        x = conv(64, 1, name="conv2")(x, train=train)
        x = conv(192, 3, name="conv3")(x, train=train)
        x = pooling.max_pool(x, 3, 2, overhangs=True)
        watched = []
        for name, widths in INCEPTIONS.items():
            block = Inception(widths, self.dtype, self.axis_name, name=f"inception{name}")
            x = remat.call(block, x, is_on=self.remat, train=train)
            if name in WATCHED:
                watched.append(x)
            if name in POOLS:
                x = pooling.max_pool(x, POOLS[name], 2, overhangs=True)
        return layers.global_average(x), tuple(watched)


class AuxiliaryHead(nn.Module):
    """Mean over a grid-Conv1x1-BN-ReLU-Dense-ReLU-Dropout-Dense; [N,H,W,C] -> [N,K] float32."""

    classes: int
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(
        self, x: jax.Array, *, train: bool, positions: jax.Array | None = None
    ) -> jax.Array:
        """`positions` [N]: the examples' places in the global batch, for dropout."""
        x = pooling.adaptive_average(x, GRID)
        conv = ConvNorm(128, 1, dtype=self.dtype, axis_name=self.axis_name, name="conv")
        x = conv(x, train=train).reshape(len(x), -1)
        dense = functools.partial(nn.Dense, kernel_init=layers.linear_init)
        x = nn.relu(dense(1024, name="fc1")(x.astype(jnp.float32)))
        x = layers.Dropout(AUXILIARY_DROPOUT, name="dropout")(x, train=train, positions=positions)
        return dense(self.classes, name="fc2")(x)


class Auxiliary(nn.Module):
    """The heads of `WATCHED`, which keep gradients from fading on their way to the first layers."""

    classes: int
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        maps: tuple[jax.Array, ...],
        *,
        train: bool,
        positions: jax.Array | None = None,
    ) -> tuple[jax.Array, ...]:
        """Logits [N,K] of each."""
        heads = [
            AuxiliaryHead(self.classes, self.dtype, self.axis_name, name=f"aux{index}")
            for index in range(1, len(maps) + 1)
        ]
        return tuple(
            head(x, train=train, positions=positions) for head, x in zip(heads, maps, strict=True)
        )


def _build(*, dtype: Any, axis_name: str | None, drop_path: float, remat: bool) -> GoogLeNet:
    del drop_path  # GoogLeNet has no residual branch to drop
    return GoogLeNet(dtype, axis_name, remat)


SPECS = (
    ModelSpec(
        name="googlenet",
        build=_build,
        auxiliary=Auxiliary,
        features=FEATURES,
        parameters=6_624_904,
        paper="https://arxiv.org/abs/1409.4842",
        weights=(Weights(file="googlenet-1378be20.pth"),),
        min_image_size=15,  # five halvings that round up, of which three want two rows at least
        dropout=DROPOUT,
        # Torchvision normalises by ImageNet's mean and deviation like everyone, and the network
        # then takes that back: x 0.229 / 0.5 + (0.485 - 0.5) / 0.5 is (pixel - 0.5) / 0.5, in
        # every channel. That is said here, since what normalises pictures must travel with the
        # weights and not lie in a layer; the layers are then torchvision's, one to one.
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        renames=(
            (r"\.branch([23])\.0\.", r".branch\1_reduce."),
            (r"\.branch([23])\.1\.", r".branch\1."),
            (r"\.branch4\.1\.", ".branch4."),
            (r"\.bn\.", ".norm."),
            (r"^(conv|inception)", r"backbone.\1"),
            (r"^aux", "auxiliary.aux"),
            (r"^fc\.", "head.dense."),
        ),
        ignored=(r"^aux",),  # those of the official file are not trained
        flattened=((r"^aux\d\.fc1\.weight$", (GRID, GRID)),),
    ),
)
