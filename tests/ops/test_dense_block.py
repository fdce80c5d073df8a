import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxall.ops import dense_block
from jaxall.ops.dense_block import Layer, Output
from jaxall.ops.moments import Moments
from tests import quick

EPSILON, BOTTLE, GROWTH = 1e-5, 6, 3


def layers(channels: int, count: int, seed: int = 0) -> list[Layer]:
    """With scales of both signs, one of them zero."""
    generator = np.random.default_rng([seed, channels, count])
    found = []
    for width in itertools.islice(itertools.count(channels, GROWTH), count):
        shapes = ((width,), (width,), (1, 1, width, BOTTLE), (BOTTLE,), (BOTTLE,))
        values = [generator.normal(size=shape) for shape in (*shapes, (3, 3, BOTTLE, GROWTH))]
        values[0][0] = 0.0
        found.append(Layer(*(value.astype(np.float32) for value in values)))
    return found


def drawn(*shape: int) -> np.ndarray:
    """Channels differ in mean and spread."""
    generator = np.random.default_rng(shape)
    spread, mean = generator.uniform(0.2, 3.0, shape[-1]), generator.normal(size=shape[-1])
    return np.asarray(generator.normal(size=shape) * spread + mean, np.float32)


def plain(x, layers, axis_name=None) -> Output:
    """Every layer on its own: what the operation must equal."""

    def moments(x):
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        mean, square = x.mean((0, 1, 2)), jnp.square(x).mean((0, 1, 2))
        if axis_name is not None:
            mean, square = jax.lax.pmean((mean, square), axis_name)
        return Moments(mean, square - mean**2)

    def norm_relu(x, found, scale, bias):
        rows = [value.reshape(1, 1, 1, -1) for value in (*found, scale, bias)]
        centred = (x.astype(rows[0].dtype) - rows[0]) / jnp.sqrt(rows[1] + EPSILON)
        return jax.nn.relu(centred * rows[2] + rows[3]).astype(x.dtype)

    def conv(x, kernel):
        places = ("NHWC", "HWIO", "NHWC")
        kernel = kernel.astype(x.dtype)
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=places)

    inner = []
    for layer in layers:
        bottle = conv(norm_relu(x, moments(x), layer.scale1, layer.bias1), layer.kernel1)
        inner.append(moments(bottle))
        new = conv(norm_relu(bottle, inner[-1], layer.scale2, layer.bias2), layer.kernel2)
        x = jnp.concatenate([x, new], -1)
    return Output(x, moments(x), tuple(inner))


def with_gradients(block, x, layers, weights):
    """The output, and the gradients of a sum over all that the block returns."""

    def loss(x, layers):
        output = block(x, layers)
        products = jax.tree.map(
            lambda a, b: jnp.sum(jnp.sin(a.astype(b.dtype)) * b), output, weights
        )
        return jax.tree.reduce(jnp.add, products), output

    gradients, output = jax.grad(loss, (0, 1), has_aux=True)(x, layers)
    return output, gradients


def weights_for(x, layers):
    shapes = jax.eval_shape(plain, x, layers)
    generator = np.random.default_rng(9)
    return jax.tree.map(lambda s: generator.normal(size=s.shape).astype(np.float32), shapes)


def fused(x, layers, axis_name=None) -> Output:
    return dense_block.dense_block(x, layers, EPSILON, axis_name)


def differences(came, wanted) -> list[float]:
    """Of each leaf, as a share of its largest value."""
    found = []
    for a, b in zip(jax.tree.leaves(came), jax.tree.leaves(wanted), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert a.shape == b.shape
        found.append(np.abs(a - b).max() / max(np.abs(b).max(), 1e-6))
    return found


def exact(x, layers, weights):
    """The plain form in float64."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: np.asarray(a, np.float64), (x, layers, weights))
        run = quick.jit(functools.partial(with_gradients, plain))
        return jax.tree.map(np.asarray, run(*wide))


def in_its_type(block, x, layers, weights):
    return quick.jit(functools.partial(with_gradients, block))(x, layers, weights)


@pytest.mark.parametrize(
    ("shape", "count", "dtype"),
    [
        ((2, 8, 8, 5), 4, jnp.float32),
        ((2, 8, 8, 5), 4, jnp.bfloat16),
        ((3, 7, 5, 2), 3, jnp.float32),
        ((1, 3, 3, 4), 1, jnp.float32),
        ((4, 1, 1, 3), 2, jnp.float32),
    ],
)
def test_outputs_and_gradients_are_those_of_the_plain_form(shape, count, dtype):
    x, weights = drawn(*shape).astype(dtype), layers(shape[-1], count)
    scales = weights_for(x, weights)
    wanted = exact(x, weights, scales)
    ours = differences(in_its_type(fused, x, weights, scales), wanted)
    plains = differences(in_its_type(plain, x, weights, scales), wanted)
    # With few values, norms amplify rounding; the plain form shows by how much.
    assert max(ours) <= 4 * max(plains)
    if shape == (2, 8, 8, 5):
        assert max(ours) < (1e-4 if dtype == jnp.float32 else 0.5)


def test_statistics_and_gradients_of_parameters_are_float32_in_a_bfloat16_network():
    x, weights = drawn(2, 4, 4, 5).astype(jnp.bfloat16), layers(5, 2)
    output, (by_x, by_layers) = jax.eval_shape(
        functools.partial(with_gradients, fused), x, weights, weights_for(x, weights)
    )
    assert output.maps.dtype == by_x.dtype == jnp.bfloat16
    assert all(s.dtype == jnp.float32 for s in jax.tree.leaves((tuple(output[1:]), by_layers)))


def test_four_devices_give_the_sums_of_one():
    x, weights = drawn(8, 4, 4, 5), layers(5, 3)
    scales = weights_for(x, weights)
    _, (by_x, by_layers) = in_its_type(plain, x, weights, scales)
    # Every device adds the moments' own terms to its loss, so each has a quarter of them.
    parts = Output(
        scales.maps.reshape(4, 2, *scales.maps.shape[1:]),
        *jax.tree.map(lambda w: np.stack([w / 4] * 4), tuple(scales[1:])),
    )
    synced = functools.partial(fused, axis_name="batch")
    step = jax.pmap(
        functools.partial(with_gradients, synced), axis_name="batch", in_axes=(0, None, 0)
    )
    output, (parts_x, parts_layers) = step(x.reshape(4, 2, *x.shape[1:]), weights, parts)
    assert max(differences(np.reshape(parts_x, x.shape), by_x)) < 5e-5
    assert max(differences(jax.tree.map(lambda g: g.sum(0), parts_layers), by_layers)) < 5e-5
    for values in jax.tree.leaves(tuple(output[1:])):
        assert (np.asarray(values) == np.asarray(values)[0]).all()


def test_normalised_copies_are_not_kept_for_the_backward_pass():
    x, weights = drawn(4, 16, 16, 8), layers(8, 12)

    def kept(block) -> int:
        _, pull = jax.eval_shape(lambda x, w: jax.vjp(lambda *a: block(*a).maps, x, w), x, weights)
        return sum(leaf.size for leaf in jax.tree.leaves(pull))

    assert kept(fused) < kept(plain) / 3


# Which of the two norms of each of three layers hold to given statistics.
HOLDINGS = {
    "all": ((True, True),) * 3,
    "none": ((False, False),) * 3,
    "the first layers": ((True, True), (True, True), (False, False)),
    "one in the middle": ((False, False), (True, True), (False, False)),
    "one norm of each": ((True, False), (False, True), (True, False)),
}


@pytest.mark.parametrize("holding", HOLDINGS.values(), ids=HOLDINGS)
def test_a_layer_that_holds_to_given_statistics_is_the_plain_one_with_them(holding):
    x, given = drawn(2, 6, 6, 4), layers(4, 3)
    held = []
    for layer, (is_outer, is_inner) in zip(given, holding, strict=True):
        widths = [len(layer.scale1), len(layer.scale2)]
        generator = np.random.default_rng(widths)
        both = [
            Moments(
                generator.normal(size=n).astype(np.float32),
                generator.uniform(0.5, 2, n).astype(np.float32),
            )
            for n in widths
        ]
        held.append(dense_block.Held(both[0] if is_outer else None, both[1] if is_inner else None))

    def plainly(x, layers):
        def norm_relu(x, found, scale, bias):
            mean, var = (value.reshape(1, 1, 1, -1) for value in found)
            scale, bias = scale.reshape(1, 1, 1, -1), bias.reshape(1, 1, 1, -1)
            return jax.nn.relu((x - mean) / jnp.sqrt(var + EPSILON) * scale + bias)

        def conv(x, kernel):
            places = ("NHWC", "HWIO", "NHWC")
            return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=places)

        def moments(x):
            return Moments(x.mean((0, 1, 2)), x.var((0, 1, 2)))

        for layer, own in zip(layers, held, strict=True):
            opened = norm_relu(x, own.outer or moments(x), layer.scale1, layer.bias1)
            bottle = conv(opened, layer.kernel1)
            narrow = norm_relu(bottle, own.inner or moments(bottle), layer.scale2, layer.bias2)
            x = jnp.concatenate([x, conv(narrow, layer.kernel2)], -1)
        return x

    def at_once(x, layers):
        output = dense_block.dense_block(x, layers, EPSILON, None, held)
        assert [found is None for found in output.inner] == [own[1] for own in holding]
        assert (output.moments is None) == all(own[0] for own in holding)
        return output.maps

    def learned(block):
        loss = lambda x, layers: (jnp.sin(y := block(x, layers)).sum(), y)  # noqa: E731
        return quick.jit(jax.grad(loss, (0, 1), has_aux=True))(x, given)

    assert max(differences(learned(at_once), learned(plainly))) < 2e-4
