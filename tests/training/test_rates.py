"""One cycle, plateaus, and groups with rates of their own."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxall import models
from jaxall.errors import UserError
from jaxall.training import groups, optim, parallel, plan, plateau
from jaxall.training import state as state_lib

LENGTH = plan.Plan(examples=100, batch_size=10, epochs=4)


def settings(**changes: Any) -> optim.OptimSettings:
    return dataclasses.replace(optim.OptimSettings(learning_rate=0.1), **changes)


@pytest.mark.parity
@pytest.mark.parametrize(("steps", "share"), [(40, 0.3), (7, 0.5), (3, 0.3), (2, 0.9), (100, 0.25)])
def test_one_cycle_is_that_of_torch(steps: int, share: float):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=steps, pct_start=share, cycle_momentum=False
    )
    wanted = []
    for step in range(steps):
        wanted.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:
            schedule.step()
    rate = optim.one_cycle(0.1, steps, share)
    np.testing.assert_allclose([float(rate(x)) for x in range(steps)], wanted, rtol=1e-4, atol=2e-8)


def test_one_cycle_begins_low_peaks_at_its_share_and_ends_lower():
    rate = optim.learning_rate(settings(schedule="one_cycle", cycle_peak=0.25), LENGTH)
    found = np.array([float(rate(step)) for step in range(40)])
    assert found.argmax() == 9
    assert found[[0, 9, 39]] == pytest.approx([0.1 / 25, 0.1, 0.1 / 25 / 1e4], rel=1e-3)


def scores(seed: int = 0) -> list[float]:
    generator = np.random.default_rng(seed)
    return [*np.round(generator.uniform(0, 1, 30), 1).tolist(), float("nan"), 0.99, 0.99, 0.1]


def scales(patience: int) -> list[float]:
    state, found = (plateau.scale_updates().init({}),), []
    for score in scores():
        state = plateau.judged(state, score, patience=patience, factor=0.5)
        found.append(plateau.scale_of(state))
    return found


@pytest.mark.parity
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_a_plateau_is_that_of_torch(patience: int):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=patience, threshold=0.0, eps=0.0
    )
    wanted = []
    for score in scores():
        schedule.step(score)
        wanted.append(optimizer.param_groups[0]["lr"])
    assert scales(patience) == wanted


def test_the_rate_falls_after_the_epochs_that_are_borne_and_never_rises():
    state = (plateau.scale_updates().init({}),)
    found = []
    for score in (0.5, 0.4, 0.5, 0.6, 0.1, 0.1, 0.1, 0.1):
        state = plateau.judged(state, score, patience=1, factor=0.1)
        found.append(round(plateau.scale_of(state), 4))
    assert found == [1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001]


def test_updates_are_scaled_by_what_a_plateau_has_left():
    transform = optim.optimizer(settings(schedule="plateau"), LENGTH)
    params = {"a": jnp.ones((3,))}
    state = transform.init(params)
    assert plateau.scale_of(state) == 1
    lower = plateau.judged(state, float("nan"), patience=0, factor=0.25)
    whole, _ = transform.update(params, state, params)
    less, _ = transform.update(params, lower, params)
    np.testing.assert_allclose(less["a"], 0.25 * whole["a"])
    assert plateau.scale_of(lower) == 0.25


def test_to_the_compiler_a_state_that_was_judged_is_the_one_before():
    spread = parallel.Spread("pmap")
    state = jax.jit(plateau.scale_updates().init, out_shardings=spread.replicated)({})
    place = spread.place
    for score in (0.5, 0.4):
        after = plateau.judged(state, score, patience=0, factor=0.1, place=place)
        for one, two in zip(state, after, strict=True):
            assert (one.aval, one.aval.weak_type) == (two.aval, two.aval.weak_type)
        assert all(x.sharding == spread.replicated for x in after)
        state = after


def test_a_state_without_a_plateau_is_left_alone():
    state = optim.optimizer(settings(), LENGTH).init({"a": jnp.ones(())})
    after = plateau.judged(state, 0.5, patience=0, factor=0.1)
    jax.tree.map(np.testing.assert_array_equal, after, state)
    assert plateau.scale_of(state) == 1


TREE = {"backbone": {"kernel": (4, 3), "bias": (3,)}, "head": {"kernel": (3, 2), "bias": (2,)}}
GROUPS = (
    groups.Group(pattern="backbone/.*", factor=1e-2),
    groups.Group(pattern=".*/bias", factor=0.5),
    groups.Group(pattern="head/kernel", factor=3.0),
)


def drawn(seed: int) -> Any:
    generator = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: generator.normal(size=shape).astype(np.float32),
        TREE,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def run(config: optim.OptimSettings, **options: Any) -> Any:
    transform = optim.optimizer(config, LENGTH, **options)
    params = jax.tree.map(jnp.asarray, drawn(0))
    state = transform.init(params)
    for seed in range(1, 6):
        changes, state = transform.update(drawn(seed), state, params)
        params = optax.apply_updates(params, changes)
    return params


def test_the_last_group_that_a_parameter_is_of_counts():
    found = groups.factors(GROUPS, drawn(0))
    assert found == {
        "backbone": {"kernel": 1e-2, "bias": 0.5},
        "head": {"kernel": 3.0, "bias": 0.5},
    }
    assert groups.factors((), drawn(0))["head"]["bias"] == 1


def test_each_layer_has_less_of_the_rate_than_the_one_above():
    found = groups.factors(
        (*groups.by_layer(("conv1", "stage1", "stage10"), 0.5), groups.Group(pattern=".*/b")),
        {
            "backbone": {name: {"a": 0, "b": 0} for name in ("conv1", "stage1", "stage10")},
            "head": {"a": 0},
        },
    )
    assert found["backbone"] == {
        "conv1": {"a": 0.125, "b": 1},
        "stage1": {"a": 0.25, "b": 1},
        "stage10": {"a": 0.5, "b": 1},
    }
    assert found["head"] == {"a": 1}


@pytest.mark.parametrize("name", ["densenet121", "efficientnet_b0", "googlenet", "resnet18"])
def test_layers_are_counted_from_the_picture_to_the_head(name: str):
    module = models.build(models.find(name), models.ModelSettings(name=name), 3)
    params = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False)["params"]
    )
    parts = state_lib.parts(module, 64)
    assert sorted(parts) == sorted(params["backbone"])
    first = {"densenet121": "conv0", "efficientnet_b0": "stem"}.get(name, "conv1")
    last = {"densenet121": "norm5", "efficientnet_b0": "top", "googlenet": "inception5b"}
    assert parts[0] == first and parts[-1] == last.get(name, "stage4")
    factors = groups.factors(groups.by_layer(parts, 0.5), params)
    ordered = [set(jax.tree.leaves(factors["backbone"][part])) for part in parts]
    assert ordered == [{0.5**height} for height in range(len(parts), 0, -1)]


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_a_group_is_trained_as_with_its_own_rate(name: str):
    config = settings(name=name, weight_decay=0.1, groups=GROUPS)
    together = run(config)
    for part in TREE:
        for leaf in TREE[part]:
            factor = groups.factors(GROUPS, drawn(0))[part][leaf]
            rate = 0.1 * factor
            alone = run(settings(name=name, weight_decay=0.1, learning_rate=rate))[part][leaf]
            np.testing.assert_allclose(together[part][leaf], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_groups_are_those_of_torch(name: str):
    torch = pytest.importorskip("torch")
    params, given = {}, []
    for part, leaves in drawn(0).items():
        for leaf, value in leaves.items():
            parameter = params[part, leaf] = torch.nn.Parameter(torch.tensor(value))
            factor = groups.factors(GROUPS, drawn(0))[part][leaf]
            given.append({"params": [parameter], "lr": 0.1 * factor})
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    optimizer = kind(given, weight_decay=0.1)
    for seed in range(1, 6):
        gradients = drawn(seed)
        for (part, leaf), parameter in params.items():
            parameter.grad = torch.tensor(gradients[part][leaf])
        optimizer.step()
    found = run(settings(name=name, weight_decay=0.1, groups=GROUPS))
    for (part, leaf), parameter in params.items():
        wanted = parameter.detach().numpy()
        np.testing.assert_allclose(found[part][leaf], wanted, rtol=1e-5, atol=2e-6)


def test_without_groups_the_state_is_the_plain_one():
    plain, grouped = (optim.optimizer(settings(groups=g), LENGTH) for g in ((), GROUPS))
    params = drawn(0)
    assert len(plain.init(params)) + 1 == len(grouped.init(params))


def test_a_restart_keeps_schedules_and_plateaus_and_forgets_moments():
    transform = optim.optimizer(settings(schedule="plateau"), LENGTH)
    params = jax.tree.map(jnp.asarray, drawn(0))
    state = transform.init(params)
    _, state = transform.update(drawn(1), state, params)
    state = plateau.judged(state, float("nan"), patience=0, factor=0.5)
    again = optim.restarted(transform.init(params), state)
    assert jax.tree.structure(again) == jax.tree.structure(state)
    assert all((x == 0).all() for x in jax.tree.leaves(optax.tree.get(again, "mu")))
    counts = [optax.tree.get_all_with_path(tree, "count") for tree in (state, again)]
    assert [[int(count) for _, count in found] for found in counts] == [[1, 1], [0, 1]]
    assert plateau.scale_of(again) == 0.5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cycle_peak": 1.0}, "optim.cycle_peak is above 0 and below 1; got 1"),
        (
            {"schedule": "one_cycle", "warmup_epochs": 1.0},
            "optim.schedule='one_cycle' warms up by itself: optim.warmup_epochs is 0; got 1",
        ),
        (
            {"schedule": "plateau", "warmup_epochs": 7.0},
            "optim.plateau_patience is at least 0 and outlasts optim.warmup_epochs; got 5 and 7",
        ),
        ({"plateau_patience": -1}, "optim.plateau_patience is at least 0"),
        ({"groups": (groups.Group(pattern="("),)}, r"optim.groups\[0\].pattern is a regular"),
        ({"groups": (groups.Group(factor=-1.0),)}, r"optim.groups\[0\].factor is at least 0"),
    ],
)
def test_an_impossible_setting_is_named(changes: dict[str, Any], told: str):
    with pytest.raises(UserError, match=told):
        settings(**changes).validate()
