import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxall.errors import UserError
from jaxall.training import optim, plan

LENGTH = plan.Plan(examples=100, batch_size=10, epochs=4)  # 10 steps an epoch, 40 in all


def settings(**changes: Any) -> optim.OptimSettings:
    return dataclasses.replace(optim.OptimSettings(), **changes)


def start() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "kernel": generator.normal(size=(5, 4)).astype(np.float32),
        "bias": generator.normal(size=4).astype(np.float32),
    }


def gradients() -> list[dict[str, np.ndarray]]:
    """Of all sizes, so that clipping at 1 touches some and not others."""
    generator = np.random.default_rng(1)
    return [
        {name: (scale * generator.normal(size=x.shape)).astype(np.float32) for name, x in begun}
        for scale in (3.0, 0.05, 1.0, 0.01, 0.3, 2.0)
        for begun in [start().items()]
    ]


def run(config: optim.OptimSettings) -> dict[str, np.ndarray]:
    transform = optim.optimizer(config, LENGTH)
    params = jax.tree.map(jnp.asarray, start())
    state = transform.init(params)

    @jax.jit
    def step(params: Any, state: Any, gradient: Any) -> tuple[Any, Any]:
        updates, state = transform.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    for gradient in gradients():
        params, state = step(params, state, gradient)
    return jax.tree.map(np.asarray, params)


def closed_form(
    config: optim.OptimSettings, *, decayed: tuple[str, ...] = ("kernel", "bias")
) -> dict[str, np.ndarray]:
    """Adam and AdamW as torch's documentation writes them, in double precision."""
    params = {name: x.astype(np.float64) for name, x in start().items()}
    first = {name: np.zeros_like(x) for name, x in params.items()}
    second = {name: np.zeros_like(x) for name, x in params.items()}
    rate, decay = config.learning_rate, config.weight_decay
    for t, given in enumerate(gradients(), 1):
        norm = np.sqrt(sum(np.square(g.astype(np.float64)).sum() for g in given.values()))
        scale = min(1.0, config.clip_norm / norm) if config.clip_norm else 1.0
        for name, x in params.items():
            g, wanted = given[name] * scale, decay * (name in decayed)
            if config.name == "adam":
                g = g + wanted * x
            else:
                x = x - rate * wanted * x
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g * g
            mean, var = first[name] / (1 - 0.9**t), second[name] / (1 - 0.999**t)
            params[name] = x - rate * mean / (np.sqrt(var) + 1e-8)
    return params


def with_torch(config: optim.OptimSettings) -> dict[str, np.ndarray]:
    torch = pytest.importorskip("torch")
    params = {name: torch.nn.Parameter(torch.tensor(x)) for name, x in start().items()}
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.name]
    optimizer = kind(params.values(), config.learning_rate, weight_decay=config.weight_decay)
    for given in gradients():
        for name, parameter in params.items():
            parameter.grad = torch.tensor(given[name])
        if config.clip_norm:
            torch.nn.utils.clip_grad_norm_(params.values(), config.clip_norm)
        optimizer.step()
    return {name: parameter.detach().numpy() for name, parameter in params.items()}


def assert_close(actual: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    for name in wanted:
        np.testing.assert_allclose(actual[name], wanted[name], rtol=1e-5, atol=2e-6, err_msg=name)


CASES = [
    settings(name=name, learning_rate=0.05, weight_decay=decay, clip_norm=clip)
    for name in optim.OPTIMIZERS
    for decay in (0.0, 0.3)
    for clip in (0.0, 1.0)
]


@pytest.mark.parametrize("config", CASES, ids=lambda c: f"{c.name}-{c.weight_decay}-{c.clip_norm}")
def test_an_optimiser_is_its_definition(config: optim.OptimSettings):
    assert_close(run(config), closed_form(config))


@pytest.mark.parity
@pytest.mark.parametrize("config", CASES, ids=lambda c: f"{c.name}-{c.weight_decay}-{c.clip_norm}")
def test_an_optimiser_is_that_of_torch(config: optim.OptimSettings):
    assert_close(run(config), with_torch(config))


def test_coupled_and_decoupled_decay_differ():
    adam, adamw = (
        run(settings(name=n, learning_rate=0.05, weight_decay=0.3)) for n in optim.OPTIMIZERS
    )
    assert np.abs(adam["kernel"] - adamw["kernel"]).max() > 1e-3


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_decay_can_leave_norms_and_biases_alone(name: str):
    config = settings(name=name, learning_rate=0.05, weight_decay=0.3, decay_norms_and_biases=False)
    assert_close(run(config), closed_form(config, decayed=("kernel",)))


def test_the_whole_gradient_is_clipped_before_decay_is_added():
    # Decay of a large parameter would fill the norm if it were added before the clipping.
    transform = optim.optimizer(settings(clip_norm=1.0, weight_decay=10.0), LENGTH)
    params = {"a": jnp.full((2,), 100.0), "b": jnp.full((2,), 100.0)}
    small = {"a": jnp.array([0.3, 0.0]), "b": jnp.array([0.0, 0.4])}
    _, after = transform.update(small, transform.init(params), params)
    moments = optax.tree.get(after, "mu")
    np.testing.assert_allclose(moments["a"], [0.1 * (0.3 + 1000), 0.1 * 1000], rtol=1e-6)
    np.testing.assert_allclose(moments["b"], [0.1 * 1000, 0.1 * (0.4 + 1000)], rtol=1e-6)


def rates(**changes: Any) -> list[float]:
    rate = optim.learning_rate(settings(learning_rate=0.1, **changes), LENGTH)
    return [float(rate(step)) for step in range(LENGTH.steps + 1)]


def test_a_constant_rate_is_constant():
    assert rates() == pytest.approx([0.1] * 41)


def test_a_warm_up_starts_at_0_and_reaches_the_rate_at_its_end():
    found = rates(warmup_epochs=0.5)
    assert found[:6] == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08, 0.1])
    assert found[5:] == pytest.approx([0.1] * 36)


def test_a_cosine_falls_to_0_at_the_end():
    found = rates(schedule="cosine")
    assert found[0] == pytest.approx(0.1)
    assert found[20] == pytest.approx(0.05)
    assert found[40] == pytest.approx(0.0, abs=1e-9)
    assert all(early >= late for early, late in itertools.pairwise(found))


def test_a_cosine_after_a_warm_up_starts_at_the_rate_and_ends_with_the_run():
    found = rates(schedule="cosine", warmup_epochs=2.0)
    assert found[0] == 0
    assert found[19] == pytest.approx(0.095)
    assert found[20] == pytest.approx(0.1)
    assert found[30] == pytest.approx(0.05)
    assert found[40] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("warmup_epochs", [0.0, 1.0])
def test_drops_come_at_their_epochs_whatever_the_warm_up(warmup_epochs: float):
    found = rates(schedule="step", step_epochs=(2.0, 3.0), warmup_epochs=warmup_epochs)
    # The step after epoch 2 is number 20 counted from 0.
    assert found[10:20] == pytest.approx([0.1] * 10)
    assert found[21:30] == pytest.approx([0.01] * 9)
    assert found[31:] == pytest.approx([0.001] * 10)
    assert found[20] == pytest.approx(0.01)
    assert found[30] == pytest.approx(0.001)


def test_drops_that_fall_on_one_step_are_both_taken():
    found = rates(schedule="step", step_epochs=(2.0, 2.04))
    assert found[19] == pytest.approx(0.1) and found[21] == pytest.approx(0.001)


def test_a_run_that_is_all_warm_up_still_has_a_rate():
    assert rates(schedule="cosine", warmup_epochs=4.0)[39] == pytest.approx(0.1 * 39 / 40)


def test_the_defaults_are_valid():
    optim.OptimSettings().validate()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "sgd"}, r"optim\.name is one of adam, adamw; got 'sgd'"),
        ({"schedule": "linear"}, r"optim\.schedule is one of .*; got 'linear'"),
        ({"learning_rate": 0.0}, r"optim\.learning_rate is above 0 and finite; got 0\.0"),
        ({"learning_rate": float("nan")}, r"optim\.learning_rate .* got nan"),
        ({"learning_rate": float("inf")}, r"optim\.learning_rate .* got inf"),
        ({"step_factor": -0.1}, r"optim\.step_factor is above 0 and finite; got -0\.1"),
        ({"weight_decay": -1.0}, r"optim\.weight_decay is at least 0 and finite; got -1\.0"),
        ({"clip_norm": float("nan")}, r"optim\.clip_norm .* got nan"),
        ({"warmup_epochs": -0.5}, r"optim\.warmup_epochs .* got -0\.5"),
        (
            {"schedule": "step"},
            r"step_epochs goes with .* got schedule 'step' with step_epochs \(\)",
        ),
        ({"step_epochs": (1.0,)}, r"step_epochs goes with .* got schedule 'constant'"),
    ],
)
def test_an_impossible_setting_is_named(changes: dict[str, Any], told: str):
    with pytest.raises(UserError, match=told):
        optim.optimizer(settings(**changes), LENGTH)
