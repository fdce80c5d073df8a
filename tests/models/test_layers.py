"""Batch norm as torch has it, and dropout that knows no devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxall.models import layers
from tests import quick


def data(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(2.0, 3.0, shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(2, 5), (16, 7), (3, 4, 5, 6), (1, 2, 2, 3)])
def test_batch_norm_and_its_running_statistics_are_those_of_torch(shape: tuple[int, ...]):
    torch = pytest.importorskip("torch")
    x, channels = data(*shape), shape[-1]
    kind = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    reference, module = kind(channels, momentum=0.1), layers.BatchNorm(momentum=0.9)
    variables = module.init(jax.random.key(0), x, train=False)
    other = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    for _ in range(3):
        ours, updates = module.apply(variables, x, train=True, mutable=["batch_stats"])
        variables = {**variables, **updates}
        theirs = reference.train()(other).detach().numpy()
        np.testing.assert_allclose(ours, np.moveaxis(theirs, 1, -1), atol=2e-5)
    stats = variables["batch_stats"]
    np.testing.assert_allclose(stats["mean"], reference.running_mean.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stats["var"], reference.running_var.numpy(), rtol=1e-5)
    theirs = reference.eval()(other).detach().numpy()
    ours = module.apply(variables, x, train=False)
    np.testing.assert_allclose(ours, np.moveaxis(theirs, 1, -1), atol=2e-5)


def test_the_running_variance_is_the_unbiased_one():
    x = data(4, 3)
    module = layers.BatchNorm(momentum=0.0)
    variables = module.init(jax.random.key(0), x, train=False)
    _, updates = module.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(updates["batch_stats"]["var"], x.var(0, ddof=1), rtol=1e-4)


def test_synchronised_statistics_are_those_of_the_global_batch():
    x = data(8, 3, 3, 5)
    alone, synced = layers.BatchNorm(), layers.BatchNorm(axis_name="batch")
    variables = alone.init(jax.random.key(0), x, train=False)
    apply = functools.partial(synced.apply, train=True, mutable=["batch_stats"])
    parts, updates = jax.pmap(apply, axis_name="batch", in_axes=(None, 0))(
        variables, x.reshape(4, 2, 3, 3, 5)
    )
    whole, wanted = alone.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(np.reshape(parts, x.shape), whole, atol=1e-5)
    for leaf in ("mean", "var"):
        got = np.asarray(updates["batch_stats"][leaf])
        assert (got == got[0]).all()
        np.testing.assert_allclose(got[0], wanted["batch_stats"][leaf], rtol=1e-5)


def dropped(x, positions, *, rate=0.5, whole_example=False, train=True, seed=0):
    module = layers.Dropout(rate, whole_example)
    rngs = {"dropout": jax.random.key(seed)}
    apply = quick.jit(functools.partial(module.apply, {}, train=train))
    return np.asarray(apply(x, positions=positions, rngs=rngs))


@pytest.mark.parametrize("whole_example", [False, True])
def test_a_mask_depends_on_the_place_in_the_global_batch_alone(whole_example: bool):
    x, places = np.ones((8, 4, 4, 6), np.float32), np.arange(8, dtype=np.int32)
    whole = dropped(x, places, whole_example=whole_example)
    for part in (slice(0, 2), slice(2, 8), slice(7, 8)):
        mine = dropped(x[part], places[part], whole_example=whole_example)
        assert (mine == whole[part]).all()
    order = np.array([5, 2, 7, 0, 1, 3, 6, 4], np.int32)
    assert (dropped(x, order, whole_example=whole_example) == whole[order]).all()
    assert (dropped(x, None, whole_example=whole_example) == whole).all()
    assert (dropped(x, places, whole_example=whole_example, seed=1) != whole).any()


def test_whole_examples_are_dropped_whole_and_the_rest_is_scaled():
    out = dropped(np.ones((200, 3, 3, 2), np.float32), None, rate=0.25, whole_example=True)
    per_example = out.reshape(200, -1)
    assert (per_example == per_example[:, :1]).all()
    assert set(np.unique(out).round(4)) == {0.0, np.float32(4 / 3).round(4)}
    assert 0.65 < (per_example[:, 0] > 0).mean() < 0.85


def test_nothing_is_dropped_outside_training_or_at_rate_zero():
    x = data(4, 5)
    assert (dropped(x, None, train=False) == x).all()
    assert (dropped(x, None, rate=0.0) == x).all()


def test_global_average_is_float32_of_any_type():
    x = jnp.asarray(data(2, 3, 5, 4), jnp.bfloat16)
    out = layers.global_average(x)
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, np.asarray(x, np.float32).mean((1, 2)), rtol=1e-5)


def test_gradients_averaged_over_devices_are_those_of_the_global_batch():
    x, weights = data(8, 3, 5), np.linspace(-1, 1, 120, dtype=np.float32).reshape(8, 3, 5)
    alone, synced = layers.BatchNorm(), layers.BatchNorm(axis_name="batch")
    variables = alone.init(jax.random.key(0), x, train=False)

    def gradients(module, params, x, weights):
        def loss_fn(params):
            filled = {**variables, "params": params}
            out, _ = module.apply(filled, x, train=True, mutable=["batch_stats"])
            return (weights * jnp.sin(out)).mean()

        return jax.grad(loss_fn)(params)

    def step(params, x, weights):
        return jax.lax.pmean(gradients(synced, params, x, weights), "batch")

    spread = jax.pmap(step, axis_name="batch", in_axes=(None, 0, 0), out_axes=None)
    came = spread(variables["params"], x.reshape(4, 2, 3, 5), weights.reshape(4, 2, 3, 5))
    wanted = gradients(alone, variables["params"], x, weights)
    for leaf in ("scale", "bias"):
        np.testing.assert_allclose(came[leaf], wanted[leaf], rtol=1e-4, atol=1e-7)


def test_gradients_flow_through_synchronised_statistics_as_through_those_of_the_global_batch():
    x, weights = data(8, 5), np.linspace(-1, 1, 40, dtype=np.float32).reshape(8, 5)
    alone, synced = layers.BatchNorm(), layers.BatchNorm(axis_name="batch")
    variables = alone.init(jax.random.key(0), x, train=False)

    def loss(module, x, weights):
        out, _ = module.apply(variables, x, train=True, mutable=["batch_stats"])
        return (weights * jnp.sin(out)).sum()

    spread = jax.pmap(jax.grad(functools.partial(loss, synced)), axis_name="batch")
    came = spread(x.reshape(4, 2, 5), weights.reshape(4, 2, 5)).reshape(8, 5)
    wanted = jax.grad(functools.partial(loss, alone))(x, weights)
    np.testing.assert_allclose(came, wanted, rtol=1e-3, atol=1e-6)


def test_devices_draw_the_masks_of_one_device():
    x, places = data(8, 6), np.arange(8, dtype=np.int32)
    module = layers.Dropout(0.5)

    def drop(x, positions):
        rngs = {"dropout": jax.random.key(0)}
        return module.apply({}, x, train=True, positions=positions, rngs=rngs)

    spread = jax.pmap(drop)(x.reshape(4, 2, 6), places.reshape(4, 2))
    assert (np.asarray(spread).reshape(x.shape) == dropped(x, places)).all()


def test_dropout_keeps_the_expectation():
    out = dropped(np.ones((50, 400), np.float32), None, rate=0.3)
    deviation = np.sqrt(0.3 / 0.7 / out.size)
    assert abs(out.mean() - 1) < 4 * deviation
