"""Batch normalisation and the activation behind it as one differentiable operation.

Written plainly, the normalised maps, the activation's own intermediate values and a centred copy
are kept for the backward pass. Here the input alone is kept, and the rest computed again. The
function and its gradients are those of the plain form: Ioffe & Szegedy, 2015,
https://arxiv.org/abs/1502.03167
"""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import lax

from jaxall.ops.moments import Moments, is_shared, moments, normalise, per_channel

ACTIVATIONS = ("none", "relu", "silu")


def batch_norm(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    *,
    epsilon: float,
    activation: str,
    axis_name: str | None,
    dtype: Any,
) -> tuple[jax.Array, Moments]:
    """Normalises with the batch's own statistics and applies the activation.

    Args:
        x: [...,C].
        scale: [C] float32.
        bias: [C] float32.
        epsilon: added to every variance.
        activation: of `ACTIVATIONS`.
        axis_name: mapped axis over which statistics are averaged; None keeps them local.
        dtype: of the output.

    Returns:
        [...,C] in `dtype`, and the statistics.
    """
    options = (epsilon, activation, axis_name, jnp.dtype(dtype))
    return cast(tuple[jax.Array, Moments], _batch_norm(x, scale, bias, options))


_Options = tuple[float, str, str | None, Any]
_Residuals = tuple[jax.Array, jax.Array, jax.Array, Moments]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _batch_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, options: _Options
) -> tuple[jax.Array, Moments]:
    return _forward(x, scale, bias, options)[0]


def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, options: _Options
) -> tuple[tuple[jax.Array, Moments], _Residuals]:
    epsilon, activation, axis_name, dtype = options
    found = moments(x, axis_name)
    y = norm_act(x, found, scale, bias, epsilon, activation, dtype)
    return (y, found), (x, scale, bias, found)


def _backward(
    options: _Options, residuals: _Residuals, gradient: tuple[jax.Array, Moments]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    epsilon, activation, axis_name, _ = options
    x, scale, bias, found = residuals
    by_y, by_found = gradient
    by_x, by_scale, by_bias, more = norm_act_vjp(x, found, scale, bias, epsilon, activation, by_y)
    total = Moments(*map(jnp.add, by_found, more))
    return by_x + through_moments(x, found, total, axis_name), by_scale, by_bias


_batch_norm.defvjp(_forward, _backward)


def norm_held(
    x: jax.Array,
    of: Moments,
    scale: jax.Array,
    bias: jax.Array,
    *,
    epsilon: float,
    activation: str,
    dtype: Any,
) -> jax.Array:
    """Normalises with given statistics, which take part in no gradient, and activates.

    Args:
        x: [...,C].
        of: the statistics.
        scale: [C] float32.
        bias: [C] float32.
        epsilon: added to every variance.
        activation: of `ACTIVATIONS`.
        dtype: of the output.
    """
    options = (epsilon, activation, None, jnp.dtype(dtype))
    return cast(jax.Array, _norm_held(x, of, scale, bias, options))


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _norm_held(
    x: jax.Array, of: Moments, scale: jax.Array, bias: jax.Array, options: _Options
) -> jax.Array:
    epsilon, activation, _, dtype = options
    return norm_act(x, of, scale, bias, epsilon, activation, dtype)


def _forward_held(
    x: jax.Array, of: Moments, scale: jax.Array, bias: jax.Array, options: _Options
) -> tuple[jax.Array, _Residuals]:
    return _norm_held(x, of, scale, bias, options), (x, scale, bias, of)


def _backward_held(
    options: _Options, residuals: _Residuals, gradient: jax.Array
) -> tuple[jax.Array, None, jax.Array, jax.Array]:
    epsilon, activation, *_ = options
    x, scale, bias, of = residuals
    by_x, by_scale, by_bias, _ = norm_act_vjp(x, of, scale, bias, epsilon, activation, gradient)
    return by_x, None, by_scale, by_bias


_norm_held.defvjp(_forward_held, _backward_held)


def activate(x: jax.Array, activation: str) -> jax.Array:
    """[...] -> [...]; `activation` is of `ACTIVATIONS`."""
    if activation == "silu":
        return x * jax.nn.sigmoid(x)
    return jnp.maximum(x, 0) if activation == "relu" else x


def norm_act(
    x: jax.Array,
    of: Moments,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
    activation: str,
    dtype: Any,
) -> jax.Array:
    """Normalised by given statistics and activated; [...,C] in `dtype`."""
    z = normalise(x, of, scale, bias, epsilon, jnp.float32)
    return activate(z, activation).astype(dtype)


def norm_act_vjp(
    x: jax.Array,
    of: Moments,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
    activation: str,
    gradient: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, Moments]:
    """Gradients by x with the statistics held, by scale, by bias, and by the statistics."""
    axes = tuple(range(x.ndim - 1))
    deviation = lax.rsqrt(of.var + epsilon)
    by_z = gradient
    if activation != "none":
        z = normalise(x, of, scale, bias, epsilon, jnp.float32)
        by_z = _through_activation(z, activation, gradient).astype(x.dtype)
    wide = by_z.astype(jnp.float32)
    by_bias, along = wide.sum(axes), (wide * x.astype(jnp.float32)).sum(axes)
    along -= of.mean * by_bias  # afterwards, so that no centred copy of x is kept
    by_x = by_z.astype(x.dtype) * per_channel(scale * deviation, x.ndim).astype(x.dtype)
    by_of = Moments(-scale * deviation * by_bias, -0.5 * scale * deviation**3 * along)
    return by_x, along * deviation, by_bias, by_of


def _through_activation(z: jax.Array, activation: str, gradient: jax.Array) -> jax.Array:
    if activation == "relu":
        return jnp.where(z > 0, gradient, 0)
    share = jax.nn.sigmoid(z)
    return gradient.astype(jnp.float32) * share * (1 + z * (1 - share))


def through_moments(
    x: jax.Array, of: Moments, gradient: Moments, axis_name: str | None
) -> jax.Array:
    """The gradient by x of the statistics taken of it."""
    if is_shared(axis_name):
        gradient = lax.pmean(gradient, axis_name)
    count = x.size // x.shape[-1]
    centred = x.astype(jnp.float32) - per_channel(of.mean, x.ndim)
    by_square = per_channel(gradient.var * (2 / count), x.ndim)
    return (per_channel(gradient.mean / count, x.ndim) + centred * by_square).astype(x.dtype)
