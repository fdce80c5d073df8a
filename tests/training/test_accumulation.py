"""A batch taken in parts, with one update at its end."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxall.errors import UserError
from jaxall.models import densenet, head, layers
from jaxall.training import parallel, plan, state, steps
from tests import tiny


class Plain(nn.Module):
    """A convolution without batch norm, so that a picture learns nothing of its neighbours."""

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, positions: jax.Array | None = None
    ) -> jax.Array:
        x = nn.silu(layers.Conv(12, 3, 2, name="conv")(images))
        x = layers.Dropout(0.3, whole_example=True)(x, train=train, positions=positions)
        return layers.global_average(x)


PLAIN = head.Classifier(Plain(), head.LinearHead(tiny.CLASSES, 0.4))


def train(
    module: nn.Module, kind: str, parts: int, count: int = 4, devices: parallel.Devices = None
) -> tuple[state.TrainState, list[dict[str, float]]]:
    """`count` steps from a fresh state."""
    spread = parallel.Spread(kind, devices)
    step = steps.make_train_step(
        module.apply, tiny.OPTIMIZER, tiny.normalise, seed=0, accumulate=parts
    )
    compiled = spread.compile(step)
    current, metrics = spread.start(tiny.create(module), None), []
    for batch in tiny.batches(count):
        current, found = compiled(current, spread.batch(batch))
        metrics.append({name: float(value) for name, value in found.items()})
    return jax.device_get(current), metrics


def assert_close(found: Any, wanted: Any, **tolerance: float) -> None:
    jax.tree.map(functools.partial(np.testing.assert_allclose, **tolerance), found, wanted)


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_the_update_of_the_parts_is_that_of_the_whole_batch(kind: str, parts: int):
    # Dropout is on: its masks belong to a picture's place in the batch, not in its part.
    whole, its = train(PLAIN, kind, 1)
    parted, others = train(PLAIN, kind, parts)
    assert_close(others, its, rtol=1e-5)
    assert_close(parted.params, whole.params, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(parted.tally.confusion, whole.tally.confusion)
    np.testing.assert_allclose(parted.tally.loss, whole.tally.loss, rtol=1e-5)
    assert parted.tally.confusion.sum() == 4 * tiny.BATCH_SIZE
    assert (parted.step, int(parted.opt_state[0].count)) == (4, 4)


def test_both_ways_of_spreading_give_the_same_bits():
    (pmapped, its), (mapped, others) = (train(PLAIN, kind, 2) for kind in plan.PARALLEL)
    assert tiny.bits(pmapped) == tiny.bits(mapped)
    assert its == others


def test_batch_norm_sees_a_part_at_a_time():
    module = tiny.classifier(dropout=0.0)
    (batch,) = tiny.batches(1)
    after, metrics = train(module, "pmap", 2, 1, (jax.devices()[0],))
    begun = jax.device_get(tiny.create(module)())
    stats, losses, gradients = begun.batch_stats, [], []
    for images, labels in zip(
        np.split(batch["image"], 2), np.split(batch["label"], 2), strict=True
    ):

        def loss_fn(params: Any, stats: Any, images: Any, labels: Any) -> Any:
            logits, updates = module.apply(
                {"params": params, "batch_stats": stats},
                tiny.normalise(images),
                train=True,
                mutable=["batch_stats"],
            )
            chosen = jax.nn.log_softmax(logits)[np.arange(len(labels)), labels]
            return -chosen.mean(), updates["batch_stats"]

        (loss, stats), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
            begun.params, stats, images, labels
        )
        losses.append(loss)
        gradients.append(gradient)
    assert_close(after.batch_stats, jax.device_get(stats), rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(metrics[0]["loss"], np.mean(losses), rtol=2e-5)
    mean = jax.tree.map(lambda *x: sum(x) / 2, *gradients)
    norm = np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(mean)))
    np.testing.assert_allclose(metrics[0]["gradient_norm"], norm, rtol=2e-5)


def test_synchronised_batch_norm_sees_that_part_of_every_device():
    # A batch dealt so that the parts of four devices are, together, the parts of one.
    (batch,) = tiny.batches(1)
    module = tiny.classifier(axis_name=steps.AXIS)
    order = np.arange(16).reshape(2, 4, 2).swapaxes(0, 1).reshape(-1)
    dealt = {name: x[order] for name, x in batch.items()}
    found = []
    for devices, fed in ((jax.devices()[:1], batch), (jax.devices(), dealt)):
        spread = parallel.Spread("shard_map", tuple(devices))
        step = steps.make_train_step(
            module.apply, tiny.OPTIMIZER, tiny.normalise, seed=0, accumulate=2
        )
        begun = spread.start(tiny.create(), None)
        found.append(jax.device_get(spread.compile(step)(begun, spread.batch(fed))))
    (alone, its), (together, others) = found
    assert_close(others, its, rtol=2e-5)
    assert_close(together.batch_stats, alone.batch_stats, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_all_that_saves_memory_works_together(kind: str):
    # Dense blocks and norms are operations of their own, here under scan, remat and bfloat16.
    def losses(dtype: Any, parts: int, *, remat: bool) -> list[float]:
        network = densenet.DenseNet(8, (2, 2), 8, dtype, steps.AXIS, remat)
        module = head.Classifier(network, head.LinearHead(tiny.CLASSES, 0.1))
        step = steps.make_train_step(
            module.apply, tiny.OPTIMIZER, tiny.normalise, seed=0, accumulate=parts
        )
        alone = dataclasses.replace(module, backbone=dataclasses.replace(network, axis_name=None))
        spread = parallel.Spread(kind, (jax.devices()[0], jax.devices()[1]))
        compiled, current = spread.compile(step), spread.start(tiny.create(alone), None)
        found = []
        for batch in tiny.batches(12):
            current, metrics = compiled(current, spread.batch(batch))
            found.append(float(metrics["loss"]))
        return found

    plain = losses(jnp.float32, 1, remat=False)
    saving = losses(jnp.bfloat16, 2, remat=True)
    assert plain[-1] < 0.9 * plain[0]
    np.testing.assert_allclose(saving, plain, rtol=0, atol=0.15 * plain[0])


@pytest.mark.parametrize(("size", "nearest"), [(0, 12), (4, 12), (16, 12), (19, 24)])
def test_a_batch_that_cant_be_dealt_in_equal_parts_is_refused(size: int, nearest: int):
    told = rf"multiple of the 4 devices times accumulate=3; got {size}, nearest is {nearest}$"
    with pytest.raises(UserError, match=told):
        parallel.check_batch_size(size, 3)
    parallel.check_batch_size(nearest, 3)


def test_no_parts_are_refused():
    with pytest.raises(UserError, match=r"train.accumulate is at least 1; got 0"):
        plan.TrainSettings(accumulate=0).validate()
