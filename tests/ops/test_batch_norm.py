import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxall.ops import batch_norm
from tests import quick

EPSILON = 1e-5
ACTIVATIONS = {"none": lambda z: z, "relu": jax.nn.relu, "silu": jax.nn.silu}


def plain(x, scale, bias, activation: str):
    """The definition; what the operation must equal."""
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    row = (1,) * (x.ndim - 1) + (-1,)
    normed = (x - mean.reshape(row)) / jnp.sqrt(var + EPSILON).reshape(row)
    return ACTIVATIONS[activation](normed * scale.reshape(row) + bias.reshape(row)), (mean, var)


def ours(x, scale, bias, activation: str, axis_name: str | None = None):
    return batch_norm.batch_norm(
        x,
        scale,
        bias,
        epsilon=EPSILON,
        activation=activation,
        axis_name=axis_name,
        dtype=x.dtype,
    )


def drawn(*shape: int) -> list[np.ndarray]:
    """An input whose channels differ, a scale with a zero and both signs, and a bias."""
    generator = np.random.default_rng(shape)
    channels = shape[-1]
    spread, mean = generator.uniform(0.2, 3.0, channels), generator.normal(size=channels)
    scale = generator.normal(size=channels)
    scale[0] = 0.0
    values = generator.normal(size=shape) * spread + mean, scale, generator.normal(size=channels)
    return [np.asarray(value, np.float32) for value in values]


def with_gradients(function, x, scale, bias, cotangents):
    """The outputs, and gradients that come through the statistics as well."""
    outputs, pull = jax.vjp(function, x, scale, bias)
    return jax.tree.leaves(outputs), pull(
        jax.tree.unflatten(jax.tree.structure(outputs), cotangents)
    )


def cotangents(x: np.ndarray) -> list[np.ndarray]:
    generator = np.random.default_rng(7)
    shapes = (x.shape, x.shape[-1:], x.shape[-1:])
    return [generator.normal(size=shape).astype(np.float32) for shape in shapes]


def assert_close(came, wanted, tolerance: float) -> None:
    for value, reference in zip(jax.tree.leaves(came), jax.tree.leaves(wanted), strict=True):
        value, reference = (np.asarray(array, np.float32) for array in (value, reference))
        assert value.shape == reference.shape
        assert np.abs(value - reference).max() <= tolerance * max(np.abs(reference).max(), 1e-30)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (1, 7, 7, 3), (8, 6), (3, 1, 1, 5)])
def test_values_statistics_and_gradients_are_those_of_the_definition(shape, activation):
    arrays = drawn(*shape)
    given = cotangents(arrays[0])
    run = quick.jit(with_gradients, static_argnums=0)
    came = run(functools.partial(ours, activation=activation), *arrays, given)
    wanted = run(functools.partial(plain, activation=activation), *arrays, given)
    assert_close(came, wanted, 1e-5)


def test_every_activation_is_tested():
    assert set(ACTIVATIONS) == set(batch_norm.ACTIVATIONS)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_devices_together_are_one_batch(activation):
    arrays = drawn(8, 3, 3, 4)
    x, scale, bias = arrays
    given = cotangents(x)
    split = lambda value: value.reshape(4, 2, *value.shape[1:])  # noqa: E731 (one line, used twice)

    def part(x, cotangent):
        function = functools.partial(ours, activation=activation, axis_name="batch")
        outputs, pull = jax.vjp(function, x, scale, bias)
        by_x, by_scale, by_bias = pull((cotangent, jax.tree.map(jnp.zeros_like, outputs[1])))
        return outputs, by_x, jax.lax.psum((by_scale, by_bias), "batch")

    (y, found), by_x, sums = jax.pmap(part, axis_name="batch")(split(x), split(given[0]))
    zeros = [np.zeros_like(value) for value in given[1:]]
    outputs, gradients = with_gradients(
        functools.partial(plain, activation=activation), *arrays, [given[0], *zeros]
    )
    assert_close(
        [np.reshape(y, x.shape), np.reshape(by_x, x.shape)], [outputs[0], gradients[0]], 1e-5
    )
    assert_close([value[0] for value in (*found, *sums)], [*outputs[1:], *gradients[1:]], 1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_bfloat16_agrees_within_its_precision(activation):
    x, scale, bias = drawn(4, 5, 5, 3)
    narrow = jnp.asarray(x, jnp.bfloat16)
    given = cotangents(x)
    low = [jnp.asarray(given[0], jnp.bfloat16), *given[1:]]
    came = with_gradients(functools.partial(ours, activation=activation), narrow, scale, bias, low)
    exact = [np.asarray(value, np.float32) for value in (narrow, low[0])]
    wanted = with_gradients(
        functools.partial(plain, activation=activation),
        exact[0],
        scale,
        bias,
        [exact[1], *given[1:]],
    )
    assert came[0][0].dtype == came[1][0].dtype == jnp.bfloat16
    assert came[1][1].dtype == jnp.float32
    assert_close(came, wanted, 3e-2)


def test_the_input_alone_is_kept_for_the_backward_pass():
    x, scale, bias = drawn(8, 6, 6, 5)

    def kept(function) -> int:
        _, pull = jax.vjp(function, x, scale, bias)
        return sum(leaf.size for leaf in jax.tree.leaves(pull) if leaf.size >= x.size)

    assert kept(functools.partial(ours, activation="silu")) == x.size
    assert kept(functools.partial(plain, activation="silu")) > x.size
