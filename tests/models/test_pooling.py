"""Pools beside torch's, and beside loops over their windows."""

import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxall.models import pooling
from tests import quick


def maps(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 97 + width).normal(size=(2, height, width, 3)).astype("f")


def channels_first(x: np.ndarray):
    return pytest.importorskip("torch").from_numpy(np.moveaxis(x, -1, 1).copy())


def cell(index: int, length: int, size: int) -> slice:
    return slice(math.floor(index * length / size), math.ceil((index + 1) * length / size))


@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (7, 7), (9, 6), (14, 14), (10, 23)])
def test_an_adaptive_average_is_the_mean_of_each_cell(height: int, width: int, size: int):
    x = maps(height, width)
    found = quick.jit(lambda x: pooling.adaptive_average(x, size))(x)
    wanted = [
        [x[:, cell(i, height, size), cell(j, width, size)].mean((1, 2)) for j in range(size)]
        for i in range(size)
    ]
    np.testing.assert_allclose(found, np.moveaxis(wanted, 2, 0), rtol=1e-5, atol=1e-6)


def test_an_average_over_a_grid_of_the_same_size_changes_nothing():
    x = maps(7, 7)
    np.testing.assert_array_equal(pooling.adaptive_average(x, 7), x)


def test_an_adaptive_average_is_float32_of_any_type():
    assert pooling.adaptive_average(maps(5, 5).astype("bfloat16"), 4).dtype == np.float32


@pytest.mark.parity
@given(height=st.integers(1, 33), width=st.integers(1, 33), size=st.integers(1, 9))
@settings(deadline=None, max_examples=40)
def test_an_adaptive_average_is_that_of_torch(height: int, width: int, size: int):
    x = maps(height, width)
    torch = pytest.importorskip("torch")
    wanted = torch.nn.functional.adaptive_avg_pool2d(channels_first(x), size).numpy()
    np.testing.assert_allclose(
        pooling.adaptive_average(x, size), np.moveaxis(wanted, 1, -1), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("size", "stride", "padding", "overhangs"),
    [(2, 2, 0, False), (3, 2, 1, False), (3, 1, 1, False), (3, 2, 0, True), (2, 2, 0, True)],
)
@pytest.mark.parametrize("length", range(3, 12))
def test_a_max_pool_and_its_gradient_are_those_of_torch(
    length: int, size: int, stride: int, padding: int, overhangs: bool
):
    torch = pytest.importorskip("torch")
    x = maps(length, length + 1)
    theirs = channels_first(x).requires_grad_()
    wanted = torch.nn.functional.max_pool2d(theirs, size, stride, padding, ceil_mode=overhangs)
    wanted.square().sum().backward()

    def pool(x: jax.Array) -> jax.Array:
        return pooling.max_pool(x, size, stride, padding=padding, overhangs=overhangs)

    found, pull = jax.vjp(pool, x)
    np.testing.assert_array_equal(found, np.moveaxis(wanted.detach().numpy(), 1, -1))
    np.testing.assert_allclose(
        pull(2 * found)[0], np.moveaxis(theirs.grad.numpy(), 1, -1), rtol=1e-6
    )


def test_windows_that_overhang_see_no_padding():
    x = -1 - np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    found = pooling.max_pool(x, 3, 2, overhangs=True)[0, :, :, 0]
    np.testing.assert_array_equal(found, [[-1, -3], [-9, -11]])
