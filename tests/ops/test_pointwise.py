import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxall.ops import pointwise
from tests import quick


def plain(x, kernel):
    """XLA's own 1x1 convolution."""
    places = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=places)


def with_gradients(function, x, kernel, gradient):
    output, pull = jax.vjp(function, x, kernel)
    return (output, *pull(gradient))


def drawn(shape: tuple[int, ...], features: int) -> list[np.ndarray]:
    generator = np.random.default_rng([*shape, features])
    shapes = (shape, (1, 1, shape[-1], features), (*shape[:-1], features))
    return [generator.normal(size=each).astype(np.float32) for each in shapes]


# More channels than features and the reverse take the operands in another order.
@pytest.mark.parametrize("features", [1, 4, 9])
@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (1, 7, 7, 3), (3, 1, 1, 6)])
def test_output_and_both_gradients_are_those_of_the_convolution(shape, features):
    run = quick.jit(with_gradients, static_argnums=0)
    arrays = drawn(shape, features)
    for came, wanted in zip(run(pointwise.pointwise, *arrays), run(plain, *arrays), strict=True):
        assert came.shape == wanted.shape
        np.testing.assert_allclose(came, wanted, atol=1e-5 * np.abs(wanted).max())


def test_bfloat16_stays_bfloat16_and_agrees_within_its_precision():
    arrays = [jnp.asarray(array, jnp.bfloat16) for array in drawn((2, 5, 5, 6), 4)]
    exact = [np.asarray(array, np.float32) for array in arrays]
    for came, wanted in zip(
        with_gradients(pointwise.pointwise, *arrays), with_gradients(plain, *exact), strict=True
    ):
        assert came.dtype == jnp.bfloat16
        wanted = np.asarray(wanted)
        np.testing.assert_allclose(
            np.asarray(came, np.float32), wanted, atol=2e-2 * np.abs(wanted).max()
        )
