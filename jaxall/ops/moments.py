"""Mean and variance of every channel over the batch and all positions, and their use.

Ioffe & Szegedy, 2015, https://arxiv.org/abs/1502.03167
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Moments(NamedTuple):
    """Of C channels, float32 [C]; the variance is the biased one."""

    mean: jax.Array
    var: jax.Array


def moments(x: jax.Array, axis_name: str | None = None) -> Moments:
    """Of [..., C], taken over every axis but the last and over a mapped axis if one is named."""
    axes = tuple(range(x.ndim - 1))
    x = x.astype(jnp.float32)
    # Shifted by one of the values, near which the others lie: a mean that is large beside the
    # deviation would cost digits in the sum. It cancels, so nothing is to be differentiated in it.
    shift = jax.lax.stop_gradient(x[(0,) * (x.ndim - 1)])
    mean = shift + jnp.mean(x - per_channel(shift, x.ndim), axes)
    own = Moments(mean, jnp.mean(jnp.square(x - per_channel(mean, x.ndim)), axes))
    if not is_shared(axis_name):
        return own
    means, variances = jax.lax.all_gather(own, axis_name)
    mean = means.mean(0)
    return Moments(mean, (variances + jnp.square(means - per_channel(mean, 2))).mean(0))


def is_shared(axis_name: str | None) -> bool:
    """Whether a mapped axis has more than one device."""
    return axis_name is not None and jax.lax.axis_size(axis_name) > 1


def count(shape: tuple[int, ...], axis_name: str | None = None) -> int:
    """Over how many values `moments` of an array of this shape are taken."""
    devices = 1 if axis_name is None else jax.lax.axis_size(axis_name)
    return math.prod(shape[:-1]) * devices


def normalise(
    x: jax.Array, of: Moments, scale: jax.Array, bias: jax.Array, epsilon: float, dtype: Any
) -> jax.Array:
    """Centred, divided by the deviation, scaled and shifted by channel; [..., C] in `dtype`."""
    # Centred first: a mean that is large beside the deviation then costs no digits.
    centred = x.astype(jnp.float32) - per_channel(of.mean, x.ndim)
    factor = per_channel(scale * jax.lax.rsqrt(of.var + epsilon), x.ndim)
    return (centred * factor + per_channel(bias, x.ndim)).astype(dtype)


def per_channel(values: jax.Array, rank: int) -> jax.Array:
    """[C] as [1,...,1,C]."""
    return values.reshape((1,) * (rank - 1) + (-1,))
