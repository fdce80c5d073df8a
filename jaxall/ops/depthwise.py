"""Depthwise convolution: every channel has its own kernel.

XLA's CPU backend lowers a grouped convolution to a loop of about 1 GFLOP/s (jax-ml/jax#23713).
There the same function is computed as a sum over the kernel's taps of shifted slices, and its
kernel gradient as one scan over output rows. On GPU and TPU the plain convolution is kept.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

CACHE = 256 * 1024  # bytes of a kernel gradient's sums, if one row leaves a choice


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves each channel with its own kernel, with k // 2 zeros of padding on each side.

    Args:
        x: [N,H,W,C].
        kernel: [k,k,1,C] with k odd, of x's type.
        stride: of both axes.

    Returns:
        [N,h,w,C] with h = (H - 1) // stride + 1, and w likewise.
    """
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(shift_and_add, stride=stride),
        default=functools.partial(plain, stride=stride),
    )


def plain(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """XLA's own grouped convolution: what `depthwise` must equal."""
    radius = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((radius, radius), (radius, radius)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def shift_and_add(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The sum over taps of strided slices of the padded input."""
    height, width = ((size - 1) // stride + 1 for size in x.shape[1:3])
    return _taps(_pad(x, kernel.shape[0] // 2), kernel, stride, height, width)


def _pad(x: jax.Array, radius: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (radius, radius), (radius, radius), (0, 0)))


def _taps(padded: jax.Array, kernel: jax.Array, stride: int, height: int, width: int) -> jax.Array:
    size = kernel.shape[0]
    batch, channels = padded.shape[0], padded.shape[3]
    wide = jnp.promote_types(padded.dtype, jnp.float32)  # 25 taps would add up 25 roundings
    total = jnp.zeros((batch, height, width, channels), wide)
    for i in range(size):
        for j in range(size):
            stop = (batch, i + (height - 1) * stride + 1, j + (width - 1) * stride + 1, channels)
            tap = lax.slice(padded, (0, i, j, 0), stop, (1, stride, stride, 1))
            total = total + tap.astype(wide) * kernel[i, j].reshape(1, 1, 1, channels).astype(wide)
    return total.astype(padded.dtype)


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return depthwise(x, kernel, stride), (x, kernel)


def _backward(
    stride: int, residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return lax.platform_dependent(
        *residuals,
        gradient,
        cpu=functools.partial(_shift_and_add_vjp, stride=stride),
        default=functools.partial(_plain_vjp, stride=stride),
    )


def _plain_vjp(
    x: jax.Array, kernel: jax.Array, gradient: jax.Array, stride: int
) -> tuple[jax.Array, jax.Array]:
    _, pull = jax.vjp(functools.partial(plain, stride=stride), x, kernel)
    return pull(gradient)


def _shift_and_add_vjp(
    x: jax.Array, kernel: jax.Array, gradient: jax.Array, stride: int
) -> tuple[jax.Array, jax.Array]:
    return (
        _input_gradient(x.shape, kernel, gradient, stride),
        _kernel_gradient(x, kernel.shape, gradient, stride).astype(kernel.dtype),
    )


def _input_gradient(
    shape: tuple[int, ...], kernel: jax.Array, gradient: jax.Array, stride: int
) -> jax.Array:
    """The gradient spread over the input's grid, convolved with the turned kernel."""
    size, (_, height, width, _) = kernel.shape[0], shape
    low = size - 1 - size // 2
    rows, columns = ((n - 1) * stride + 1 for n in gradient.shape[1:3])
    # lax.pad's third number puts zeros between the values: the transpose of a strided slice.
    padded = lax.pad(
        gradient,
        jnp.zeros((), gradient.dtype),
        (
            (0, 0, 0),
            (low, height + size - 1 - low - rows, stride - 1),
            (low, width + size - 1 - low - columns, stride - 1),
            (0, 0, 0),
        ),
    )
    return _taps(padded, kernel[::-1, ::-1], 1, height, width)


def _kernel_gradient(
    x: jax.Array, shape: tuple[int, ...], gradient: jax.Array, stride: int
) -> jax.Array:
    """One scan over groups of output rows, of which few are taken at once for the cache; float32.

    A tap's products are added to its own [rows,w,C] sum, without being summed over the row: that
    is plain vector arithmetic, where a reduction at every step would cost more than the products.
    """
    size, channels = shape[0], shape[3]
    batch, height, width, _ = gradient.shape
    count = min(height, max(1, CACHE // (4 * size * size * width * channels)))
    steps = -(-height // count)
    count = -(-height // steps)  # all groups but the last are full
    below = steps * count - height  # rows of zeros that fill the last group
    gradient = jnp.pad(gradient, ((0, 0), (0, below), (0, 0), (0, 0)))
    padded = jnp.pad(_pad(x, size // 2), ((0, 0), (0, below * stride), (0, 0), (0, 0)))
    deep = (count - 1) * stride + size
    offsets = [(i, j) for i in range(size) for j in range(size)]

    def add_rows(
        sums: tuple[jax.Array, ...], index: jax.Array
    ) -> tuple[tuple[jax.Array, ...], None]:
        image, y = index // steps, index % steps * count
        by = lax.dynamic_slice(gradient, (image, y, 0, 0), (1, count, width, channels))[0]
        seen = lax.dynamic_slice(
            padded, (image, y * stride, 0, 0), (1, deep, padded.shape[2], channels)
        )[0]
        stop = ((count - 1) * stride + 1, (width - 1) * stride + 1, channels)
        taps = [
            lax.slice(seen, (i, j, 0), (i + stop[0], j + stop[1], channels), (stride, stride, 1))
            for i, j in offsets
        ]
        by = by.astype(jnp.float32)
        return tuple(
            total + tap.astype(jnp.float32) * by for total, tap in zip(sums, taps, strict=True)
        ), None

    start = tuple(jnp.zeros((count, width, channels), jnp.float32) for _ in offsets)
    sums, _ = lax.scan(add_rows, start, jnp.arange(batch * steps))
    return jnp.stack([total.sum((0, 1)) for total in sums]).reshape(shape)


depthwise.defvjp(_forward, _backward)
