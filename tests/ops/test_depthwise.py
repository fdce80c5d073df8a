import functools
import re

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies

from jaxall.ops import depthwise
from tests import quick

Arrays = tuple[np.ndarray, ...]


def drawn(batch: int, height: int, width: int, channels: int, size: int, stride: int) -> Arrays:
    """An input, a kernel, and a gradient of the output."""
    generator = np.random.default_rng([batch, height, width, channels, size, stride])
    x = generator.normal(size=(batch, height, width, channels))
    kernel = generator.normal(size=(size, size, 1, channels))
    output = (batch, (height - 1) // stride + 1, (width - 1) // stride + 1, channels)
    gradient = generator.normal(size=output)
    return tuple(value.astype(np.float32) for value in (x, kernel, gradient))


def with_gradients(convolve, stride: int, arrays) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The output and the gradients of both arguments."""
    x, kernel, gradient = arrays
    output, pull = jax.vjp(lambda x, kernel: convolve(x, kernel, stride), x, kernel)
    return (output, *pull(gradient))


once = functools.partial(quick.jit, static_argnums=(0, 1))


def assert_agree(arrays, stride: int) -> None:
    run = once(with_gradients)
    references = run(depthwise.plain, stride, arrays)
    assert_close(run(depthwise.depthwise, stride, arrays), references, 1e-5)


def assert_close(values, references, tolerance: float) -> None:
    for value, reference in zip(values, references, strict=True):
        assert value.shape == reference.shape and value.dtype == reference.dtype
        value, reference = (np.asarray(array, np.float32) for array in (value, reference))
        assert np.abs(value - reference).max() <= tolerance * np.abs(reference).max()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("shape", [(2, 9, 9), (1, 8, 8), (2, 7, 10), (1, 1, 1), (3, 1, 6)])
def test_output_and_both_gradients_are_those_of_the_plain_convolution(shape, size, stride):
    assert_agree(drawn(*shape, 5, size, stride), stride)


@pytest.mark.parametrize("cache", [1, 2000, 10**9])
@pytest.mark.parametrize("stride", [1, 2])
def test_rows_taken_at_once_do_not_change_the_kernel_gradient(monkeypatch, stride, cache):
    # 7 and 4 rows: one at a time, groups of which the last is not full, and all of them
    monkeypatch.setattr(depthwise, "CACHE", cache)
    arrays = drawn(2, 7, 6, 3, 3, stride)

    def fresh(convolve):  # traced anew for every size of the cache
        return with_gradients(convolve, stride, arrays)

    assert_close(
        quick.jit(fresh, static_argnums=0)(depthwise.depthwise), fresh(depthwise.plain), 1e-5
    )


@hypothesis.settings(max_examples=8, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    batch=strategies.integers(1, 3),
    height=strategies.integers(1, 11),
    width=strategies.integers(1, 11),
    channels=strategies.integers(1, 4),
    size=strategies.sampled_from([1, 3, 5]),
    stride=strategies.integers(1, 3),
)
def test_any_shape_agrees_with_the_plain_convolution(batch, height, width, channels, size, stride):
    assert_agree(drawn(batch, height, width, channels, size, stride), stride)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [3, 5])
def test_bfloat16_agrees_within_its_precision(size, stride):
    arrays = [jnp.asarray(array, jnp.bfloat16) for array in drawn(2, 9, 9, 5, size, stride)]
    exact = [np.asarray(array, np.float32) for array in arrays]
    values = once(with_gradients)(depthwise.depthwise, stride, arrays)
    assert {value.dtype for value in values} == {jnp.dtype("bfloat16")}
    references = once(with_gradients)(depthwise.plain, stride, exact)
    # 8 bits of mantissa, rounded once per tap
    assert_close([value.astype(jnp.float32) for value in values], references, 2e-2)


def test_jit_and_grad_change_nothing():
    x, kernel, gradient = drawn(2, 9, 9, 5, 3, 2)

    def loss(convolve, x, kernel):
        return (convolve(x, kernel, 2) * gradient).sum()

    jitted = jax.jit(jax.grad(functools.partial(loss, depthwise.depthwise), argnums=(0, 1)))
    plain = jax.grad(functools.partial(loss, depthwise.plain), argnums=(0, 1))
    assert_close(jitted(x, kernel), plain(x, kernel), 1e-5)


def test_under_pmap_gradients_summed_over_devices_are_those_of_the_whole_batch():
    devices = jax.local_device_count()
    assert devices > 1
    x, kernel, gradient = drawn(2 * devices, 6, 6, 3, 3, 1)

    @functools.partial(jax.pmap, axis_name="batch", in_axes=(0, None, 0), out_axes=(0, 0, None))
    def spread(x, kernel, gradient):
        output, dx, dkernel = with_gradients(depthwise.depthwise, 1, (x, kernel, gradient))
        return output, dx, jax.lax.psum(dkernel, "batch")

    split = (array.reshape(devices, 2, *array.shape[1:]) for array in (x, gradient))
    output, dx, dkernel = spread(next(split), kernel, next(split))
    assert_close(
        (output.reshape(x.shape), dx.reshape(x.shape), dkernel),
        with_gradients(depthwise.plain, 1, (x, kernel, gradient)),
        1e-5,
    )


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_other_platforms_get_the_plain_convolution_and_its_gradients(platform):
    x, kernel, _ = drawn(2, 8, 8, 6, 3, 1)

    def both(x, kernel):
        return jax.value_and_grad(lambda k: depthwise.depthwise(x, k, 1).sum())(kernel)

    text = jax.jit(both).trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    assert text.count("stablehlo.convolution") == 2
    assert len(re.findall(r"(?:feature|batch)_group_count = 6", text)) == 2
    assert "stablehlo.slice" not in text and "stablehlo.while" not in text


def test_the_cpu_gets_no_grouped_convolution():
    x, kernel, _ = drawn(2, 8, 8, 6, 3, 1)
    convolve = jax.jit(lambda x, kernel: depthwise.depthwise(x, kernel, 1))
    text = convolve.trace(x, kernel).lower(lowering_platforms=("cpu",)).as_text()
    assert "stablehlo.convolution" not in text and "stablehlo.slice" in text


def test_64_bit_integers_do_not_disturb_it():
    arrays = drawn(2, 5, 5, 3, 3, 1)
    with jax.enable_x64(True):
        assert_agree(arrays, 1)
