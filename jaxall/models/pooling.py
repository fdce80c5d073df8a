"""Pooling as torch has it: padding by numbers, windows that overhang, grids of any size."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn


def max_pool(
    x: jax.Array, size: int, stride: int, *, padding: int = 0, overhangs: bool = False
) -> jax.Array:
    """The largest value of each window; [N,H,W,C] -> [N,h,w,C].

    Args:
        x: the maps.
        size: of the square windows.
        stride: from one to the next.
        padding: on each side, by what is never the largest.
        overhangs: the last windows may reach beyond the padding (torch's `ceil_mode`) as long as
            they begin before it.
    """
    # Linen's annotation knows names of paddings only; pairs are what its docstring gives.
    pads: Any = tuple(_pads(length, size, stride, padding, overhangs) for length in x.shape[1:3])
    return nn.max_pool(x, window_shape=(size, size), strides=(stride, stride), padding=pads)


def _pads(length: int, size: int, stride: int, padding: int, overhangs: bool) -> tuple[int, int]:
    """Before and behind one axis."""
    if not overhangs:
        return padding, padding
    count = max(0, math.ceil((length + 2 * padding - size) / stride) + 1)
    if (count - 1) * stride >= length + padding:
        count -= 1
    return padding, (count - 1) * stride + size - length - padding


def adaptive_average(x: jax.Array, size: int) -> jax.Array:
    """Means over a grid of `size` x `size` cells; [N,H,W,C] -> [N,size,size,C] float32.

    Cell i of H rows goes from floor(i H / size) to ceil((i + 1) H / size), as in torch: cells
    overlap where H isn't a multiple, and repeat rows where there are fewer than cells.
    """
    x = x.astype(jnp.float32)
    rows, columns = (_cells(length, size) for length in x.shape[1:3])
    exact = jax.lax.Precision.HIGHEST  # these are means, not a layer
    return jnp.einsum("ih,jw,nhwc->nijc", rows, columns, x, precision=exact)


def _cells(length: int, size: int) -> np.ndarray:
    """Weights of each position in each cell, [size, length]."""
    weights = np.zeros((size, length), np.float32)
    for cell in range(size):
        start, stop = cell * length // size, -(-(cell + 1) * length // size)
        weights[cell, start:stop] = 1 / (stop - start)
    return weights
