"""A dense block in training as one differentiable operation.

Written plainly, every layer concatenates all maps before it, takes their batch statistics anew,
and keeps its normalised copy of them for the backward pass: memory traffic grows with the square
of the depth. But maps never change once they are made. So here

- their mean and variance are taken once and serve every later layer's norm, except where a layer's
  norms hold to statistics that they are given,
- they lie in one buffer, into which each layer writes its own,
- the normalised copies are computed again in the backward pass instead of being kept
  (Pleiss et al., 2017, https://arxiv.org/abs/1707.06990).

The function and its gradients are those of the plain form.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax

from jaxall.ops import pointwise
from jaxall.ops.batch_norm import norm_act, norm_act_vjp, through_moments
from jaxall.ops.moments import Moments, moments


class Layer(NamedTuple):
    """Parameters of BN-ReLU-Conv1x1-BN-ReLU-Conv3x3 after C maps, float32; or their gradients."""

    scale1: jax.Array  # [C]
    bias1: jax.Array  # [C]
    kernel1: jax.Array  # [1,1,C,B]
    scale2: jax.Array  # [B]
    bias2: jax.Array  # [B]
    kernel2: jax.Array  # [3,3,B,growth]


class Held(NamedTuple):
    """Statistics that a layer's two norms use in place of the batch's, where they are given."""

    outer: Moments | None = None  # [C]
    inner: Moments | None = None  # [B]


class Output(NamedTuple):
    """What a block gives.

    Attributes:
        maps: [N,H,W,C + L growth], the input first, in the input's type.
        moments: of each of the maps, over the batch; None where every layer's first norm is held.
        inner: for each layer, the moments in front of its second norm; None where that is held.
    """

    maps: jax.Array
    moments: Moments | None
    inner: tuple[Moments | None, ...]


class _Residuals(NamedTuple):
    layers: tuple[Layer, ...]
    held: tuple[Held, ...]
    output: Output
    squeezed: tuple[jax.Array, ...]  # for each layer, what the 1x1 convolution gave: [N,H,W,B]


def dense_block(
    x: jax.Array,
    layers: Sequence[Layer],
    epsilon: float,
    axis_name: str | None,
    held: Sequence[Held] | None = None,
) -> Output:
    """Runs L layers, each fed with all the maps before it.

    Args:
        x: [N,H,W,C]; its type is the one convolutions compute in.
        layers: the parameters, first layer first.
        epsilon: added to every variance.
        axis_name: mapped axis over which statistics are averaged; None keeps them local.
        held: for each layer the statistics that it is given, which take part in no gradient; None
            if there are none.
    """
    given = [Held()] * len(layers) if held is None else list(held)
    return cast(Output, _dense_block(x, list(layers), given, epsilon, axis_name))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _dense_block(
    x: jax.Array,
    layers: list[Layer],
    held: list[Held],
    epsilon: float,
    axis_name: str | None,
) -> Output:
    return _forward(x, layers, held, epsilon, axis_name)[0]


def _forward(
    x: jax.Array,
    layers: list[Layer],
    held: list[Held],
    epsilon: float,
    axis_name: str | None,
) -> tuple[Output, _Residuals]:
    growth = layers[0].kernel2.shape[-1]
    maps = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, growth * len(layers))))
    found = None if all(own.outer for own in held) else moments(x, axis_name)
    inner, squeezed = [], []
    for layer, own in zip(layers, held, strict=True):
        channels = len(layer.scale1)
        outer = own.outer or _known(found)
        opened = _norm_relu(maps[..., :channels], outer, layer.scale1, layer.bias1, epsilon)
        bottle = pointwise.pointwise(opened, layer.kernel1.astype(x.dtype))
        inner.append(None if own.inner else moments(bottle, axis_name))
        between = own.inner or _known(inner[-1])
        narrow = _norm_relu(bottle, between, layer.scale2, layer.bias2, epsilon)
        new = _conv3x3(narrow, layer.kernel2)
        maps = lax.dynamic_update_slice(maps, new, (0, 0, 0, channels))
        if found:
            found = Moments(*map(jnp.append, found, moments(new, axis_name)))
        squeezed.append(bottle)
    output = Output(maps, found, tuple(inner))
    return output, _Residuals(tuple(layers), tuple(held), output, tuple(squeezed))


def _backward(
    epsilon: float, axis_name: str | None, residuals: _Residuals, gradient: Output
) -> tuple[jax.Array, list[Layer], None]:
    """From the last layer to the first; a map's gradient is whole once its own layer is reached."""
    layers, held, output, squeezed = residuals
    maps, found = output.maps, output.moments
    by_maps, by_moments = gradient.maps, gradient.moments
    gradients = []
    for layer, own, bottle, inner, by_inner in zip(
        reversed(layers),
        reversed(held),
        reversed(squeezed),
        reversed(output.inner),
        reversed(gradient.inner),
        strict=True,
    ):
        channels, growth = len(layer.scale1), layer.kernel2.shape[-1]
        new = slice(channels, channels + growth)
        by_new = by_maps[..., new]
        if found:
            by_new += through_moments(
                maps[..., new], _take(found, new), _take(_known(by_moments), new), axis_name
            )
        between = own.inner or _known(inner)
        narrow = _norm_relu(bottle, between, layer.scale2, layer.bias2, epsilon)
        by_narrow, kernel2 = _conv3x3_vjp(narrow, layer.kernel2, by_new)
        by_bottle, scale2, bias2, more = _norm_relu_vjp(
            bottle, between, layer.scale2, layer.bias2, epsilon, by_narrow
        )
        if not own.inner:
            total = Moments(*map(jnp.add, _known(by_inner), more))
            by_bottle += through_moments(bottle, between, total, axis_name)

        seen = maps[..., :channels]
        before = own.outer or _take(_known(found), slice(channels))
        opened = _norm_relu(seen, before, layer.scale1, layer.bias1, epsilon)
        by_opened, kernel1 = pointwise.vjp(opened, layer.kernel1, by_bottle)
        by_seen, scale1, bias1, more = _norm_relu_vjp(
            seen, before, layer.scale1, layer.bias1, epsilon, by_opened
        )
        by_maps = by_maps.at[..., :channels].add(by_seen)
        if not own.outer:
            by_moments = Moments(
                *(a.at[:channels].add(b) for a, b in zip(_known(by_moments), more, strict=True))
            )
        gradients.append(Layer(scale1, bias1, kernel1, scale2, bias2, kernel2))
    first = slice(len(layers[0].scale1))
    by_x = by_maps[..., first]
    if found:
        by_x += through_moments(
            maps[..., first], _take(found, first), _take(_known(by_moments), first), axis_name
        )
    return by_x, gradients[::-1], None


_dense_block.defvjp(_forward, _backward)


def _known(of: Moments | None) -> Moments:
    """Moments that were taken, as they are wherever none were given."""
    assert of is not None
    return of


def _take(of: Moments, channels: slice) -> Moments:
    return Moments(of.mean[channels], of.var[channels])


def _norm_relu(
    x: jax.Array, of: Moments, scale: jax.Array, bias: jax.Array, epsilon: float
) -> jax.Array:
    return norm_act(x, of, scale, bias, epsilon, "relu", x.dtype)


def _norm_relu_vjp(
    x: jax.Array,
    of: Moments,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
    gradient: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, Moments]:
    return norm_act_vjp(x, of, scale, bias, epsilon, "relu", gradient)


def _conv3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        (1, 1),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _conv3x3_vjp(
    x: jax.Array, kernel: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    _, pull = jax.vjp(_conv3x3, x, kernel)
    return pull(gradient)
