"""What is frozen keeps its bits, and costs no backward pass."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from jaxall.errors import UserError
from jaxall.models import densenet, head, layers
from jaxall.training import freezing, optim, parallel, patterns, plan, state, steps
from tests import tiny

LENGTH = plan.Plan(examples=160, batch_size=16, epochs=4)
# Coupled decay, which would move what has no gradient too.
OPTIMIZER = optim.optimizer(optim.OptimSettings(learning_rate=1e-2, weight_decay=0.1), LENGTH)
SCOPES = {
    "the head": freezing.Scope(trainable=("head/.*",)),
    "a block in the middle": freezing.Scope(trainable=("backbone/(conv1|norm1)/.*",)),
    "one norm's bias": freezing.Scope(trainable=("backbone/norm0/bias",)),
    "all but the statistics": freezing.Scope(batch_norm="frozen"),
}


def create(module: Any) -> state.TrainState:
    return state.create(module, OPTIMIZER, image_size=tiny.SIZE, classes=tiny.CLASSES, seed=0)


def make(scope: freezing.Scope, module: Any, **options: Any) -> steps.TrainStep:
    return steps.make_train_step(
        module.apply, OPTIMIZER, tiny.normalise, seed=0, scope=scope, **options
    )


def trained(
    scope: freezing.Scope, module: Any, count: int = 2, **options: Any
) -> tuple[Any, Any, list[dict[str, float]]]:
    """The state before and after some steps, and their metrics."""
    spread = parallel.Spread("shard_map", tuple(jax.devices()[:2]))
    step = spread.compile(make(scope, module, **options))
    current = spread.start(functools.partial(create, module.clone()), None)
    before, metrics = jax.device_get(current), []
    for batch in tiny.batches(count):
        current, found = step(current, spread.batch(batch))
        metrics.append(jax.tree.map(float, found))
    return before, jax.device_get(current), metrics


def changed(before: Any, after: Any) -> set[str]:
    """Paths of the leaves whose bits differ."""
    assert jax.tree.structure(before) == jax.tree.structure(after)
    pairs = zip(tiny.bits(before), tiny.bits(after), patterns.paths(before), strict=True)
    return {path for one, two, path in pairs if one != two}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_what_is_frozen_keeps_its_bits_and_all_else_moves(scope: freezing.Scope, accumulate: int):
    module = tiny.classifier()
    before, after, _ = trained(scope, module, accumulate=accumulate)
    paths = patterns.paths(before.params)
    wanted = {path for path in paths if scope.is_trained(path)}
    assert changed(before.params, after.params) == wanted
    for moment in ("mu", "nu"):
        own = [optax.tree.get(x.opt_state, moment) for x in (before, after)]
        assert changed(*own) == wanted
    moving = {path.rpartition("/")[0] for path in wanted} if scope.batch_norm == "train" else set()
    stats = {path for path in patterns.paths(before.batch_stats)}
    assert changed(before.batch_stats, after.batch_stats) == {
        path for path in stats if path.rpartition("/")[0] in moving
    }
    assert jax.tree.structure(before) == jax.tree.structure(after)


def test_a_frozen_norm_is_that_of_inference_and_dropout_goes_on():
    for dropout, is_equal in ((0.0, True), (0.5, False)):
        module = tiny.classifier(dropout=dropout)
        before, _, metrics = trained(SCOPES["all but the statistics"], module, 1)
        (batch,) = tiny.batches(1)
        logits = module.apply(before.variables, tiny.normalise(batch["image"]), train=False)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()
        assert (abs(metrics[0]["loss"] - float(loss)) < 1e-5) == is_equal


def test_the_gradient_of_what_is_trained_is_that_of_training_everything():
    module = tiny.classifier()
    whole = freezing.Scope(batch_norm="frozen")
    part = freezing.Scope(trainable=("head/.*",), batch_norm="frozen")
    moments = [
        optax.tree.get(trained(scope, module, 1)[1].opt_state, "mu")["head"]
        for scope in (whole, part)
    ]
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), *moments)


def test_a_frozen_backbone_has_no_backward_pass():
    module = tiny.classifier()
    batch = {name: jnp.asarray(x) for name, x in tiny.batches(1)[0].items()}

    def work(scope: freezing.Scope) -> float:
        step = jax.vmap(make(scope, module), axis_name=steps.AXIS, in_axes=(None, 0))
        given = {name: x[None] for name, x in batch.items()}
        compiled = jax.jit(step).lower(jax.eval_shape(lambda: create(module)), given).compile()
        return compiled.cost_analysis()["flops"]

    assert work(SCOPES["the head"]) < 0.6 * work(freezing.Scope())


def test_layers_of_a_dense_block_are_frozen_one_by_one():
    network = densenet.DenseNet(4, (2, 1), 4)
    module = head.Classifier(network, head.LinearHead(tiny.CLASSES))
    scope = freezing.Scope(trainable=("head/.*", "backbone/denseblock1/denselayer2/.*"))
    before, after, _ = trained(scope, module, 1)
    wanted = {path for path in patterns.paths(before.params) if scope.is_trained(path)}
    # ReLU or the place of a norm may leave a gradient of exactly zero; decay moves those too, but
    # not a bias that is zero.
    assert wanted - {x for x in wanted if x.endswith("bias")} <= changed(
        before.params, after.params
    )
    assert changed(before.params, after.params) <= wanted
    flat = traverse_util.flatten_dict(before.batch_stats, sep="/")
    assert changed(before.batch_stats, after.batch_stats) == {
        path for path in flat if "denselayer2" in path and "denseblock1" in path
    }


def test_a_norm_that_is_held_has_the_gradients_of_the_plain_form():
    generator = np.random.default_rng(0)
    x = generator.normal(1, 2, (3, 4, 4, 5)).astype(np.float32)
    module = layers.BatchNorm(activation="silu")
    params = {"scale": generator.normal(size=5), "bias": generator.normal(size=5)}
    params = {name: value.astype(np.float32) for name, value in params.items()}
    stats = {"mean": np.full(5, 0.7, np.float32), "var": np.full(5, 2.5, np.float32)}

    def held(params: Any, x: Any) -> jax.Array:
        return module.apply({"params": params, layers.HELD: stats}, x, train=True)

    def plain(params: Any, x: Any) -> jax.Array:
        z = (x - 0.7) / np.sqrt(2.5 + 1e-5) * params["scale"].reshape(1, 1, 1, 5)
        return jax.nn.silu(z + params["bias"].reshape(1, 1, 1, 5))

    found, wanted = (
        jax.grad(lambda params, x, f=f: jnp.sin(f(params, x)).sum(), (0, 1))(params, x)
        for f in (held, plain)
    )
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5), found, wanted)
    assert freezing.HELD == layers.HELD


def test_what_is_split_can_be_joined():
    module = tiny.classifier()
    begun = create(module)
    scope = SCOPES["a block in the middle"]
    moving, held = scope.split(begun.batch_stats, begun.params)
    assert set(patterns.paths(moving)) == {"backbone/norm1/mean", "backbone/norm1/var"}
    assert tiny.bits(freezing.join(moving, held)) == tiny.bits(begun.batch_stats)


def test_frozen_are_the_statistics_of_the_backbone_for_those_of_a_head_are_fresh():
    module = head.Classifier(tiny.Backbone(), head.TwoLayerHead(3, 4))
    begun = jax.eval_shape(lambda: create(module))
    moving, held = freezing.Scope(batch_norm="frozen").split(begun.batch_stats, begun.params)
    assert (set(moving), set(held)) == ({"head"}, {"backbone"})
    moving, held = freezing.Scope(trainable=("backbone/.*",)).split(begun.batch_stats, begun.params)
    assert (set(moving), set(held)) == ({"backbone"}, {"head"})


def test_a_pattern_that_matches_nothing_is_told_with_the_nearest_paths():
    params = jax.eval_shape(lambda: create(tiny.classifier())).params
    with pytest.raises(UserError) as caught:
        patterns.check({"a": "head/.*", "b": "backbone/cov1/.*", "c": "heads"}, params)
    told = str(caught.value)
    assert "b: 'backbone/cov1/.*' matches no parameter; the nearest are backbone/conv1/.*" in told
    assert "c: 'heads' matches no parameter" in told
    assert "a: " not in told
    assert "\n" not in told


def test_a_pattern_stands_for_a_whole_path():
    assert patterns.matches("head/.*", "head/dense/bias")
    assert not patterns.matches("head", "head/dense/bias")
    assert not patterns.matches("dense/.*", "head/dense/bias")


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        (freezing.Stage(epochs=0.0), "s.epochs is above 0; got 0"),
        (freezing.Stage(factor=-1.0), "s.factor is above 0; got -1"),
        (freezing.Stage(batch_norm="eval"), "s.batch_norm is one of train, frozen; got 'eval'"),
        (freezing.Stage(trainable=()), "s.trainable names parameters; got none"),
        (
            freezing.Stage(trainable=("head/(",)),
            r"s.trainable is a regular expression; got 'head/('",
        ),
    ],
)
def test_an_impossible_stage_is_named(stage: freezing.Stage, told: str):
    (line,) = stage.problems("s")
    assert line.startswith(told)
