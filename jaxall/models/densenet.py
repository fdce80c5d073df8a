"""DenseNet: every layer of a block sees all the maps before it.

Huang et al., 2017, https://arxiv.org/abs/1608.06993
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxall.models import layers, remat
from jaxall.models.spec import ModelSpec, Weights
from jaxall.ops import dense_block, moments

# name: (growth rate, layers per block, stem channels, features, parameters, official file)
VARIANTS = {
    "densenet121": (32, (6, 12, 24, 16), 64, 1024, 7_978_856, "densenet121-a639ec97.pth"),
    "densenet161": (48, (6, 12, 36, 24), 96, 2208, 28_681_000, "densenet161-8d451a50.pth"),
    "densenet169": (32, (6, 12, 32, 32), 64, 1664, 14_149_480, "densenet169-b2777c0a.pth"),
    "densenet201": (32, (6, 12, 48, 32), 64, 1920, 20_013_928, "densenet201-c1103571.pth"),
}
# Files from before torch 0.4, the official ones among them, say norm.1 for the module norm1.
OLD_NAMES = r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\."
BOTTLENECK = 4  # channels of the 1x1 convolution, in growth rates


class DenseLayer(nn.Module):
    """BN-ReLU-Conv1x1-BN-ReLU-Conv3x3 with running statistics; [N,H,W,C] -> [N,H,W,growth]."""

    growth: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the new maps only; the block puts them behind the others."""
        norm = functools.partial(layers.BatchNorm, activation="relu", dtype=self.dtype)
        conv = functools.partial(layers.Conv, dtype=self.dtype)
        x = norm(name="norm1")(x, train=False)
        x = conv(BOTTLENECK * self.growth, 1, name="conv1")(x)
        x = norm(name="norm2")(x, train=False)
        return conv(self.growth, 3, name="conv2")(x)


class DenseBlock(nn.Module):
    """L layers, each fed with everything before it; [N,H,W,C] -> [N,H,W,C + L growth]."""

    count: int
    growth: int
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Along the channels the oldest maps come first."""
        names = [f"denselayer{index + 1}" for index in range(self.count)]
        if train and not self.is_initializing():
            return self._train(x, names)
        channels = x.shape[-1]
        # One buffer that every layer writes into: concatenating would copy all maps every time.
        maps = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.growth * self.count)))
        for name in names:
            new = DenseLayer(self.growth, self.dtype, name=name)(maps[..., :channels])
            maps = jax.lax.dynamic_update_slice(maps, new, (0, 0, 0, channels))
            channels += self.growth
        return maps

    def _train(self, x: jax.Array, names: list[str]) -> jax.Array:
        """The same layers with the batch's statistics, as one operation."""
        params, stats = self.variables["params"], self.variables.get("batch_stats", {})
        given = [_parameters(params[name]) for name in names]
        held = self.variables.get(layers.HELD, {})
        frozen = [_held(held.get(name, {})) for name in names]
        output = dense_block.dense_block(x, given, layers.EPSILON, self.axis_name, frozen)
        count = moments.count(x.shape, self.axis_name)
        for name, inner in zip(names, output.inner, strict=True):
            new = {}
            for norm, values in stats.get(name, {}).items():
                old = moments.Moments(**values)
                found = inner if norm == "norm2" else output.moments
                assert found is not None  # what is not held was taken
                own = moments.Moments(*(x[: len(old.mean)] for x in found))
                new[norm] = layers.updated(old, own, count, layers.MOMENTUM)._asdict()
            if new:
                self.put_variable("batch_stats", name, new)
        return output.maps


def _parameters(layer: Any) -> dense_block.Layer:
    return dense_block.Layer(
        scale1=layer["norm1"]["scale"],
        bias1=layer["norm1"]["bias"],
        kernel1=layer["conv1"]["kernel"],
        scale2=layer["norm2"]["scale"],
        bias2=layer["norm2"]["bias"],
        kernel2=layer["conv2"]["kernel"],
    )


def _held(layer: Any) -> dense_block.Held:
    """Of what lies of a layer in the collection of held statistics."""
    names = {"norm1": "outer", "norm2": "inner"}
    given = {names[norm]: moments.Moments(**values) for norm, values in layer.items()}
    return dense_block.Held(**given)


class Transition(nn.Module):
    """BN-ReLU-mean over 2x2-Conv1x1; [N,H,W,C] -> [N,H/2,W/2,C/2].

    The paper and torch take the mean last. The two commute, being linear in different axes, and a
    quarter of the products is left.
    """

    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Odd rows and columns at the end are dropped, as in torch."""
        norm = layers.BatchNorm(
            activation="relu", axis_name=self.axis_name, dtype=self.dtype, name="norm"
        )
        x = norm(x, train=train)
        x = nn.avg_pool(x, window_shape=(2, 2), strides=(2, 2), padding="VALID")
        return layers.Conv(x.shape[-1] // 2, 1, dtype=self.dtype, name="conv")(x)


class DenseNet(nn.Module):
    """Backbone; [N,H,W,3] -> features [N,F] float32 (F = 1920 for DenseNet-201)."""

    growth: int
    counts: tuple[int, ...]
    stem: int
    dtype: Any = jnp.float32
    axis_name: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, positions: jax.Array | None = None
    ) -> jax.Array:
        """`positions` is for architectures with dropout in the backbone; unused here."""
        norm = functools.partial(
            layers.BatchNorm, activation="relu", axis_name=self.axis_name, dtype=self.dtype
        )
        x = layers.Conv(self.stem, 7, 2, dtype=self.dtype, name="conv0")(images)
        x = norm(name="norm0")(x, train=train)
        # Linen's annotation knows names of paddings only; pairs are what its docstring gives.
        pads: Any = ((1, 1), (1, 1))
        x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding=pads)
        for index, count in enumerate(self.counts, 1):
            if index > 1:
                name = f"transition{index - 1}"
                transition = Transition(self.dtype, self.axis_name, name=name)
                x = remat.call(transition, x, is_on=self.remat, train=train)
            block = DenseBlock(
                count, self.growth, self.dtype, self.axis_name, name=f"denseblock{index}"
            )
            x = remat.call(block, x, is_on=self.remat, train=train)
        x = norm(name="norm5")(x, train=train)
        return layers.global_average(x)


def _build(
    name: str, *, dtype: Any, axis_name: str | None, drop_path: float, remat: bool
) -> DenseNet:
    del drop_path  # DenseNet has no residual branch to drop
    growth, counts, stem, *_ = VARIANTS[name]
    return DenseNet(growth, counts, stem, dtype, axis_name, remat)


SPECS = tuple(
    ModelSpec(
        name=name,
        build=functools.partial(_build, name),
        features=features,
        parameters=parameters,
        paper="https://arxiv.org/abs/1608.06993",
        weights=(Weights(file=file),),
        min_image_size=29,  # five halvings, of which the last three drop an odd row
        renames=(
            (OLD_NAMES, r"\1\2."),
            (r"^features\.", "backbone."),
            (r"^classifier\.", "head.dense."),
        ),
    )
    for name, (_, _, _, features, parameters, file) in VARIANTS.items()
)
