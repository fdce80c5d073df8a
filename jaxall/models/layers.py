"""Layers that every family shares: convolution, batch normalisation, dropout by example.

Batch normalisation follows torch: Ioffe & Szegedy, 2015, https://arxiv.org/abs/1502.03167
Stochastic depth: Huang et al., 2016, https://arxiv.org/abs/1603.09382
"""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxall.ops import batch_norm, depthwise, moments, pointwise
from jaxall.ops.moments import Moments

MOMENTUM, EPSILON = 0.9, 1e-5  # of batch normalisation; torch's defaults (its momentum is 0.1)

# Collection of the statistics that training leaves alone: a norm whose own lie there uses them as
# they are. The others' lie in "batch_stats".
HELD = "held_batch_stats"

# Name of a norm's sown output before its activation, which is what torch's norm layer gives.
NORMALISED = "normalised"

# torch.nn.Linear's default: uniform within +-1/sqrt(fan_in).
linear_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def kernel_init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """The values of `nn.initializers.he_normal()`, drawn as one row and then given their shape.

    XLA compiles a row for the CPU in 0.4 s; a draw of four small dimensions takes it up to 8 s.
    """
    cut = 0.87962566103423978  # standard deviation of a normal distribution cut at two of its own
    std = math.sqrt(2 / math.prod(shape[:-1])) / cut
    row = nn.initializers.truncated_normal(std)(key, (math.prod(shape),), dtype)
    return row.reshape(shape)


class BatchNorm(nn.Module):
    """Normalises every channel over the batch and all positions; [..., C] -> [..., C].

    The running variance is the unbiased one (n / (n - 1) times the batch's), as in torch and
    unlike `flax.linen.BatchNorm`: statistics ported from torchvision keep their meaning while
    they are trained on, and with n = 16 examples in front of a dense layer the two differ by 7 %.
    Normalisation itself uses the biased variance, as everywhere.

    Attributes:
        momentum: share of the old running value that is kept; torch's momentum is one minus this.
        activation: applied to what is normalised; of `batch_norm.ACTIVATIONS`.
        axis_name: mapped axis over which the statistics are averaged; None keeps them local.
        dtype: of the output; statistics and parameters are float32 always.
    """

    momentum: float = MOMENTUM
    epsilon: float = EPSILON
    activation: str = "none"
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Uses the batch's statistics and updates the running ones if `train`, unless held."""
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        is_held = self.has_variable(HELD, "mean")
        collection = HELD if is_held else "batch_stats"
        running_mean = self.variable(collection, "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable(collection, "var", jnp.ones, (channels,), jnp.float32)
        running = Moments(running_mean.value, running_var.value)
        if not train:
            z = moments.normalise(x, running, scale, bias, self.epsilon, jnp.float32)
            self.sow("intermediates", NORMALISED, z)
            return batch_norm.activate(z, self.activation).astype(self.dtype)
        options = {"epsilon": self.epsilon, "activation": self.activation, "dtype": self.dtype}
        if is_held:
            return batch_norm.norm_held(x, running, scale, bias, **options)
        axis_name = None if self.is_initializing() else self.axis_name
        y, found = batch_norm.batch_norm(x, scale, bias, axis_name=axis_name, **options)
        if not self.is_initializing():
            count = moments.count(x.shape, axis_name)
            running_mean.value, running_var.value = updated(running, found, count, self.momentum)
        return y


def updated(running: Moments, found: Moments, count: int, momentum: float) -> Moments:
    """Running statistics after a batch of `count` values per channel; `momentum` is kept."""
    unbiased = Moments(found.mean, found.var * (count / max(count - 1, 1)))
    return Moments(
        *(momentum * x + (1 - momentum) * y for x, y in zip(running, unbiased, strict=True))
    )


class Conv(nn.Module):
    """Convolution with torch's padding (half the kernel on each side); [N,H,W,C] -> [N,h,w,D].

    Attributes:
        features: D; for a depthwise convolution the C of its input.
        is_depthwise: every channel has its own [k,k] kernel.
    """

    features: int
    kernel_size: int
    stride: int = 1
    use_bias: bool = False
    is_depthwise: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves in `dtype`; parameters are float32."""
        size = self.kernel_size
        inputs = 1 if self.is_depthwise else x.shape[-1]
        shape = (size, size, inputs, self.features)
        kernel = self.param("kernel", kernel_init, shape, jnp.float32)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        if self.is_depthwise:
            y = cast(jax.Array, depthwise.depthwise(x, kernel, self.stride))
        elif size == 1:
            y = cast(jax.Array, pointwise.pointwise(x[:, :: self.stride, :: self.stride], kernel))
        else:
            y = jax.lax.conv_general_dilated(
                x,
                kernel,
                (self.stride, self.stride),
                ((size // 2, size // 2),) * 2,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            y = y + bias.reshape(1, 1, 1, -1).astype(self.dtype)
        return y


class Dropout(nn.Module):
    """Zeroes values, or whole examples, by a mask that depends on no device; [N,...] -> [N,...].

    The key of an example is the layer's key folded with the example's position in the global
    batch, so a batch spread over any number of devices meets the same masks.

    Attributes:
        rate: probability of zero; what is left is divided by one minus it.
        whole_example: one draw per example (stochastic depth) rather than per value.
    """

    rate: float
    whole_example: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, positions: jax.Array | None) -> jax.Array:
        """`positions` [N] are the examples' places in the global batch; None counts from 0."""
        if not train or self.rate == 0:
            return x
        if positions is None:
            positions = jnp.arange(x.shape[0], dtype=jnp.int32)
        shape = (1,) * (x.ndim - 1) if self.whole_example else x.shape[1:]
        keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("dropout"), positions)
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.rate, shape))(keys)
        return jnp.where(keep, x / (1 - self.rate), jnp.zeros_like(x))


def global_average(x: jax.Array) -> jax.Array:
    """[N,H,W,C] -> [N,C] float32."""
    return jnp.mean(x.astype(jnp.float32), (1, 2))
