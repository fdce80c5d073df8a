import jax
import numpy as np
import pytest

from jaxall.ops import moments


def drawn(mean: float, deviation: float) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.normal(mean, deviation, (8, 6, 6, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("mean", "deviation"), [(0, 1), (10, 1e-2), (100, 1e-2), (-1000, 0.1), (1e-6, 1e-7)]
)
def test_a_mean_far_from_zero_costs_no_digits(mean: float, deviation: float):
    x = drawn(mean, deviation)
    found = moments.moments(x)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(found.mean, wide.mean((0, 1, 2)), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.var, wide.var((0, 1, 2)), rtol=1e-5)


def test_a_constant_channel_has_no_variance():
    found = moments.moments(np.full((4, 3, 3, 2), 1234.567, np.float32))
    np.testing.assert_array_equal(found.var, 0)


def test_devices_agree_on_the_moments_of_all():
    x = drawn(10, 1e-2) * np.linspace(1, 3, 8, dtype=np.float32).reshape(8, 1, 1, 1)
    parts = jax.pmap(lambda part: moments.moments(part, "batch"), axis_name="batch")(
        x.reshape(4, 2, 6, 6, 5)
    )
    whole = x.astype(np.float64)
    for came, wanted in zip(parts, (whole.mean((0, 1, 2)), whole.var((0, 1, 2))), strict=True):
        came = np.asarray(came)
        assert (came == came[0]).all()
        np.testing.assert_allclose(came[0], wanted, rtol=1e-5)


def test_gradients_are_those_of_the_definition():
    x = drawn(3, 0.5)
    generator = np.random.default_rng(1)
    weights = generator.normal(size=(2, 5)).astype(np.float32)

    def loss(of, x):
        mean, var = of(x)
        return (mean * weights[0] + var * weights[1]).sum()

    def definition(x):
        return x.mean((0, 1, 2)), x.var((0, 1, 2))

    came = jax.grad(lambda x: loss(moments.moments, x))(x)
    wanted = jax.grad(lambda x: loss(definition, x))(x)
    np.testing.assert_allclose(came, wanted, atol=1e-6 * np.abs(wanted).max())
