"""Averages of weights and statistics over the steps."""

import functools

import jax
import numpy as np

from jaxall.training import parallel, state, steps
from tests import tiny

DECAY = 0.3


def create() -> state.TrainState:
    return state.create(
        tiny.classifier(),
        tiny.OPTIMIZER,
        image_size=tiny.SIZE,
        classes=tiny.CLASSES,
        seed=0,
        is_averaged=True,
    )


def test_averages_follow_closely_at_first_and_change_nothing_else():
    spread = parallel.Spread("pmap", tuple(jax.devices()[:2]))
    module = tiny.classifier(axis_name=steps.AXIS)
    make = functools.partial(
        steps.make_train_step, module.apply, tiny.OPTIMIZER, tiny.normalise, seed=0
    )
    step, plain_step = spread.compile(make(ema=DECAY)), spread.compile(make())
    current, plain = spread.start(create, None), spread.start(tiny.create(), None)
    wanted = jax.device_get(current.variables)
    assert tiny.bits(wanted) == tiny.bits(
        {"params": plain.params, "batch_stats": plain.batch_stats}
    )
    for number, batch in enumerate(tiny.batches(4)):
        current, metrics = step(current, spread.batch(batch))
        plain, others = plain_step(plain, spread.batch(batch))
        assert jax.tree.map(float, metrics) == jax.tree.map(float, others)
        decay = min(DECAY, (1 + number) / (10 + number))
        latest = jax.device_get({"params": current.params, "batch_stats": current.batch_stats})
        wanted = jax.tree.map(lambda a, b, d=decay: d * a + (1 - d) * b, wanted, latest)
    assert tiny.bits(current.params) == tiny.bits(plain.params)
    assert tiny.bits(current.opt_state) == tiny.bits(plain.opt_state)
    compare = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(compare, jax.device_get(current.variables), wanted)
    assert decay == DECAY


def test_averages_start_from_the_weights_that_a_run_starts_from():
    other = jax.device_get(tiny.create()().params["backbone"])
    moved = jax.tree.map(lambda x: x + 1, other)
    stats = create().batch_stats["backbone"]
    begun = state.with_backbone(
        create(), {"params": {"backbone": moved}, "batch_stats": {"backbone": stats}}
    )
    assert tiny.bits(begun.variables["params"]) == tiny.bits(begun.params)
    assert tiny.bits(begun.params["backbone"]) == tiny.bits(moved)


def test_a_state_without_averages_is_judged_by_its_weights():
    begun = tiny.create()()
    assert begun.variables == {"params": begun.params, "batch_stats": begun.batch_stats}
    assert "ema" not in {field for field in vars(begun)}
