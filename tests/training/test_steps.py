import contextlib
import functools
import types
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxall.errors import UserError
from jaxall.training import checkpoints, parallel, plan, state, steps
from tests import tiny

ONE = (jax.devices()[0],)
TOLERANCE = {"rtol": 2e-5, "atol": 2e-6}


@functools.cache
def trained(kind: str, devices: parallel.Devices = None) -> tuple[Any, list[dict[str, float]]]:
    """Five steps with synchronised batch norm and dropout."""
    return tiny.train(parallel.Spread(kind, devices), tiny.batches(5))


@contextlib.contextmanager
def compilations() -> Iterator[types.SimpleNamespace]:
    """Counts what XLA compiles, or reads from a cache of what it compiled, inside the block."""
    seen = types.SimpleNamespace(count=0)

    def listen(event: str, duration: float, **_: Any) -> None:
        seen.count += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def on_every_device(tree: Any) -> list[Any]:
    """What each device holds of a replicated tree."""
    return [
        jax.tree.map(lambda x, n=n: np.asarray(x.addressable_shards[n].data), tree)
        for n in range(jax.local_device_count())
    ]


def test_pmap_and_shard_map_give_the_same_bits():
    (pmapped, its), (mapped, others) = trained("pmap"), trained("shard_map")
    assert tiny.bits(pmapped) == tiny.bits(mapped)
    assert its == others


@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_one_device_and_four_learn_alike(kind: str):
    (alone, its), (together, others) = trained(kind, ONE), trained(kind)
    for one, four in zip(its, others, strict=True):
        np.testing.assert_allclose(four["loss"], one["loss"], rtol=2e-5)
    for name in ("params", "batch_stats"):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=2e-5),
            jax.device_get(getattr(together, name)),
            jax.device_get(getattr(alone, name)),
        )
    np.testing.assert_array_equal(together.tally.confusion, alone.tally.confusion)


@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_the_gradient_of_four_devices_is_that_of_one(kind: str):
    # Adam would hide a gradient that is four times too large; the reported norm doesn't.
    alone, together = trained(kind, ONE)[1][0], trained(kind)[1][0]
    np.testing.assert_allclose(together["gradient_norm"], alone["gradient_norm"], rtol=2e-5)


def test_the_gradient_is_that_of_the_mean_loss():
    spread, batch = parallel.Spread("pmap"), tiny.batches(1)[0]
    begun = jax.device_get(spread.start(tiny.create(), None))
    step = tiny.step(dropout=0.0)
    _, metrics = spread.compile(step)(spread.start(tiny.create(), None), spread.batch(batch))

    def loss(params: Any) -> jax.Array:
        logits, _ = tiny.classifier(dropout=0.0).apply(
            {"params": params, "batch_stats": begun.batch_stats},
            tiny.normalise(batch["image"]),
            train=True,
            mutable=["batch_stats"],
        )
        chosen = jax.nn.log_softmax(logits)[np.arange(len(logits)), batch["label"]]
        return -chosen.mean()

    wanted, gradients = jax.value_and_grad(loss)(begun.params)
    np.testing.assert_allclose(metrics["loss"], wanted, rtol=2e-5)
    np.testing.assert_allclose(metrics["gradient_norm"], optax.tree.norm(gradients), rtol=2e-5)


def test_batch_norm_that_is_not_synchronised_keeps_the_mean_of_the_devices_statistics():
    spread, batch = parallel.Spread("shard_map"), tiny.batches(1)[0]
    begun = jax.device_get(spread.start(tiny.create(), None))
    step = spread.compile(tiny.step(is_synced=False, dropout=0.0))
    after, _ = step(spread.start(tiny.create(), None), spread.batch(batch))

    held = on_every_device(after.batch_stats)
    assert all(tiny.bits(one) == tiny.bits(held[0]) for one in held)

    module = tiny.classifier(dropout=0.0)
    variables = {"params": begun.params, "batch_stats": begun.batch_stats}
    apart = [
        module.apply(variables, tiny.normalise(share), train=True, mutable=["batch_stats"])[1]
        for share in np.split(batch["image"], 4)
    ]
    mean = jax.tree.map(lambda *x: np.mean(x, 0), *(one["batch_stats"] for one in apart))
    jax.tree.map(functools.partial(np.testing.assert_allclose, **TOLERANCE), held[0], mean)
    assert tiny.bits(apart[0]) != tiny.bits(apart[1])


@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_every_device_holds_the_same_state(kind: str):
    held = on_every_device(trained(kind)[0])
    assert all(tiny.bits(one) == tiny.bits(held[0]) for one in held)


@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_the_step_is_compiled_once_and_takes_the_state_it_is_given(kind: str, tmp_path):
    spread = parallel.Spread(kind)
    fed = [spread.batch(batch) for batch in tiny.batches(6)]
    step = spread.compile(tiny.step())
    counts = []

    def run(
        current: state.TrainState, batch: steps.Batch, *, is_being_saved: bool = False
    ) -> state.TrainState:
        with compilations() as seen:
            after, metrics = step(current, batch)
            jax.block_until_ready(metrics)
        counts.append(seen.count)
        # A buffer that is still being written to disk is copied instead.
        assert is_being_saved or all(leaf.is_deleted() for leaf in jax.tree.leaves(current))
        assert all(
            leaf.sharding.is_fully_replicated and len(leaf.sharding.device_set) == 4
            for leaf in jax.tree.leaves(after)
        )
        return after

    current = spread.start(tiny.create(), None)
    current = run(run(current, fed[0]), fed[1])
    current = current.replace(tally=spread.place(state.empty_tally(tiny.CLASSES)))
    current = run(run(current, fed[2]), fed[3])
    store = checkpoints.Checkpoints(tmp_path, spread)
    store.save(current, 4, None)
    current = run(current, fed[4], is_being_saved=True)
    store.close()
    store = checkpoints.Checkpoints(tmp_path, spread)
    restored = store.restore(jax.eval_shape(tiny.create()))
    store.close()
    again = run(restored, fed[4])
    assert tiny.bits(again) == tiny.bits(current)
    run(again, fed[5])
    assert counts == [1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_a_fresh_and_a_restored_state_are_the_same_to_the_compiler(kind: str, tmp_path):
    # What the compilation cache of a later process is asked for depends on nothing else.
    spread = parallel.Spread(kind)
    fresh = spread.start(tiny.create(), None)
    store = checkpoints.Checkpoints(tmp_path, spread)
    store.save(fresh, 1, None)
    store.close()
    store = checkpoints.Checkpoints(tmp_path, spread)
    restored = store.restore(jax.eval_shape(tiny.create()))
    store.close()
    emptied = restored.replace(tally=spread.place(state.empty_tally(tiny.CLASSES)))
    for other in (restored, emptied):
        jax.tree.map(assert_same_kind, fresh, other)
        assert jax.tree.structure(fresh) == jax.tree.structure(other)


def assert_same_kind(x: jax.Array, y: jax.Array) -> None:
    assert x.aval == y.aval
    assert x.aval.weak_type == y.aval.weak_type
    assert x.sharding == y.sharding
    assert x.committed == y.committed


def test_starting_from_weights_takes_their_backbone_and_a_fresh_head():
    spread = parallel.Spread("pmap")
    other = jax.device_get(
        state.create(
            tiny.classifier(), tiny.OPTIMIZER, image_size=tiny.SIZE, classes=tiny.CLASSES, seed=7
        )
    )
    weights = {"params": other.params, "batch_stats": other.batch_stats}
    fresh, begun = spread.start(tiny.create(), None), spread.start(tiny.create(), weights)
    assert tiny.bits(begun.params["backbone"]) == tiny.bits(other.params["backbone"])
    assert tiny.bits(begun.params["head"]) == tiny.bits(fresh.params["head"])
    assert tiny.bits(begun.opt_state) == tiny.bits(fresh.opt_state)


def test_weights_of_another_backbone_are_refused():
    weights = {"params": {"backbone": {"conv0": {"kernel": jnp.zeros((3, 3, 3, 9))}}}}
    with pytest.raises(UserError, match="fit another backbone"):
        parallel.Spread("pmap").start(tiny.create(), weights)


@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_the_tally_is_a_recount_of_what_was_seen(kind: str):
    spread, fed = parallel.Spread(kind), tiny.batches(3, seed=5)
    module = tiny.classifier()
    forward = jax.jit(
        lambda variables, batch, key: module.apply(
            variables,
            tiny.normalise(batch["image"]),
            train=True,
            positions=batch["position"],
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )[0]
    )
    step, current = spread.compile(tiny.step()), spread.start(tiny.create(), None)
    confusion, total = np.zeros((3, 3), int), 0.0
    for number, batch in enumerate(fed):
        variables = jax.device_get({"params": current.params, "batch_stats": current.batch_stats})
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 1), number)
        logits = np.asarray(forward(variables, batch, key), np.float64)
        chosen = np.log(np.exp(logits).sum(-1)) - logits[np.arange(16), batch["label"]]
        total += chosen.sum()
        np.add.at(confusion, (batch["label"], logits.argmax(-1)), 1)
        current, _ = step(current, spread.batch(batch))
    np.testing.assert_array_equal(current.tally.confusion, confusion)
    assert current.tally.confusion.sum() == 48
    np.testing.assert_allclose(current.tally.loss, total, rtol=2e-5)
    assert int(current.step) == 3


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_learnable_task_is_learned(dtype: Any):
    spread = parallel.Spread("pmap")
    current, metrics = tiny.train(spread, tiny.batches(40, seed=3), tiny.step(dtype=dtype))
    losses = [found["loss"] for found in metrics]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert all(leaf.dtype != jnp.bfloat16 for leaf in jax.tree.leaves(current))


def test_dropout_falls_on_pictures_by_their_place_in_the_global_batch():
    # The same pictures dealt to the devices in another order, each with its own position.
    spread, batch = parallel.Spread("pmap"), tiny.batches(1)[0]
    order = np.random.default_rng(0).permutation(len(batch["label"]))
    dealt = {name: x[order] for name, x in batch.items()}
    displaced = {**dealt, "position": batch["position"]}
    step = spread.compile(tiny.step(dropout=0.5))
    losses = [
        float(step(spread.start(tiny.create(), None), spread.batch(given))[1]["loss"])
        for given in (batch, dealt, displaced)
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-6)
    assert abs(losses[2] - losses[0]) > 1e-4


@pytest.mark.parametrize(("size", "nearest"), [(0, 4), (3, 4), (6, 8), (13, 12)])
def test_a_batch_that_the_devices_cant_share_is_refused(size: int, nearest: int):
    with pytest.raises(UserError, match=rf"multiple of the 4 devices; got {size}, .* {nearest}$"):
        parallel.check_batch_size(size)


def test_a_batch_that_the_devices_can_share_is_taken():
    parallel.check_batch_size(12)


class Watched(nn.Module):
    """A classifier that says the same three times, twice as auxiliary logits."""

    @nn.compact
    def __call__(self, images, *, train, positions=None):
        x = images.mean((1, 2))
        logits = [nn.Dense(tiny.CLASSES, name=name)(x) for name in ("main", "aux1", "aux2")]
        if train:
            self.sow(steps.AUXILIARY, "logits", tuple(logits[1:]))
        return logits[0]


def test_auxiliary_logits_have_their_share_in_the_gradient_and_none_in_the_loss():
    keep = optax.GradientTransformation(
        lambda p: p, lambda g, _, p: (jax.tree.map(jnp.zeros_like, p), g)
    )
    module, batch = Watched(), tiny.batches(1)[0]
    begin = functools.partial(
        state.create, module, keep, image_size=tiny.SIZE, classes=tiny.CLASSES, seed=0
    )
    step = steps.make_train_step(module.apply, keep, tiny.normalise, seed=0)
    spread = parallel.Spread("pmap")
    before = spread.start(begin, None)
    params = jax.device_get(before.params)
    after, metrics = spread.compile(step)(before, spread.batch(batch))

    def losses(params: Any) -> list[jax.Array]:
        x = tiny.normalise(batch["image"]).mean((1, 2))
        chosen = np.arange(len(x)), batch["label"]
        logits = [x @ layer["kernel"] + layer["bias"][None] for layer in params.values()]
        return [-jax.nn.log_softmax(x)[chosen].mean() for x in logits]

    def total(params: Any) -> jax.Array:
        main, *more = losses({name: params[name] for name in ("main", "aux1", "aux2")})
        return main + 0.3 * (more[0] + more[1])

    wanted = jax.grad(total)(params)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, **TOLERANCE),
        jax.device_get(after.opt_state),
        wanted,
    )
    np.testing.assert_allclose(metrics["loss"], losses({"main": params["main"]})[0], rtol=2e-5)
    assert not jax.tree.leaves(after.batch_stats)
