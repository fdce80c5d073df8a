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
    mean, square = jnp.mean(x, axes), jnp.mean(jnp.square(x), axes)
    if axis_name is not None:
        mean, square = jax.lax.pmean((mean, square), axis_name)
    return Moments(mean, jnp.maximum(square - jnp.square(mean), 0))


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
