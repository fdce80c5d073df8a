import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxall.errors import UserError
from jaxall.training import losses, parallel, plan, state, steps
from tests import tiny
from tests.training.test_accumulation import PLAIN

COUNTS = (60, 30, 10)
EVERYTHING = losses.LossSettings(class_weights="balanced", focal_gamma=2.0, label_smoothing=0.1)


def examples(count: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, some of them very sure, and labels."""
    generator = np.random.default_rng(seed)
    scale = generator.choice([0.1, 3.0, 40.0], (count, 1))
    logits = generator.normal(size=(count, 3)) * scale
    return logits.astype(np.float32), generator.integers(0, 3, count)


def mean(loss: losses.Loss, logits: Any, labels: Any) -> jax.Array:
    """A batch's loss."""
    return loss(logits, labels).sum() / loss.weight(jnp.asarray(labels)).sum()


def test_class_weights_are_those_of_the_definition():
    balanced = losses.make(losses.LossSettings(class_weights="balanced"), COUNTS)
    root = losses.make(losses.LossSettings(class_weights="sqrt"), COUNTS)
    wanted = [100 / (3 * count) for count in COUNTS]
    np.testing.assert_allclose(balanced.weights, wanted, rtol=1e-6)
    np.testing.assert_allclose(root.weights, np.sqrt(wanted), rtol=1e-6)
    assert losses.make(losses.LossSettings(), COUNTS).weights is None


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("weights", losses.CLASS_WEIGHTS)
def test_the_loss_and_its_gradient_are_torchs(weights: str, smoothing: float):
    torch = pytest.importorskip("torch")
    made = losses.LossSettings(class_weights=weights, label_smoothing=smoothing)
    loss, (logits, labels) = losses.make(made, COUNTS), examples()
    value, gradient = jax.value_and_grad(functools.partial(mean, loss))(logits, labels=labels)
    theirs = torch.tensor(logits, requires_grad=True)
    wanted = torch.nn.CrossEntropyLoss(
        weight=None if loss.weights is None else torch.tensor(loss.weights),
        label_smoothing=smoothing,
    )(theirs, torch.tensor(labels))
    wanted.backward()
    np.testing.assert_allclose(value, wanted.item(), rtol=1e-6)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-5, atol=1e-7)


@settings(deadline=None, max_examples=30)
@given(
    gamma=st.floats(0.01, 5),
    smoothing=st.sampled_from([0.0, 0.2]),
    weights=st.sampled_from(sorted(losses.CLASS_WEIGHTS)),
    seed=st.integers(0, 99),
)
def test_focal_loss_is_that_of_the_paper(gamma: float, smoothing: float, weights: str, seed: int):
    made = losses.LossSettings(class_weights=weights, focal_gamma=gamma, label_smoothing=smoothing)
    loss, (logits, labels) = losses.make(made, COUNTS), examples(seed=seed)
    wide = logits.astype(np.float64)
    odds = np.exp(wide[:, None, :] - wide[:, :, None])  # of each class against each
    p, others = 1 / odds.sum(-1), (odds.sum(-1) - 1) / odds.sum(-1)
    target = (1 - smoothing) * np.eye(3)[labels] + smoothing / 3
    alpha = np.ones(3) if loss.weights is None else loss.weights
    wanted = -(alpha * target * others**gamma * np.log(p)).sum(-1)
    np.testing.assert_allclose(loss(logits, labels), wanted, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.25, 0.5, 1.0, 2.0])
def test_a_network_that_is_sure_has_a_finite_gradient(gamma: float):
    loss = losses.Loss(focal_gamma=gamma)
    logits = jnp.array([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0]])
    gradient = jax.grad(lambda x: loss(x, jnp.array([0, 0])).sum())(logits)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient[0], 0, atol=1e-6)
    np.testing.assert_allclose(gradient[1], [-1, 1, 0], atol=1e-5)


def test_without_settings_it_is_plain_cross_entropy_to_the_bit():
    logits, labels = examples()
    found = losses.make(losses.LossSettings(), COUNTS)(jnp.array(logits), labels)
    wanted = optax.softmax_cross_entropy_with_integer_labels(jnp.array(logits), labels)
    assert tiny.bits(found) == tiny.bits(wanted)


def test_all_impossible_settings_are_named_at_once():
    with pytest.raises(UserError) as caught:
        losses.LossSettings(class_weights="all", focal_gamma=-1.0, label_smoothing=1.0).validate()
    assert str(caught.value) == (
        "loss.class_weights is one of none, balanced, sqrt; got 'all'; "
        "loss.focal_gamma is at least 0 and finite; got -1.0; "
        "loss.label_smoothing is at least 0 and below 1; got 1.0"
    )


def test_a_class_without_a_picture_has_no_weight():
    with pytest.raises(ValueError, match=r"every class needs a picture, there are \(1, 0\)"):
        losses.make(losses.LossSettings(class_weights="balanced"), (1, 0))


@functools.cache
def trained(kind: str, count: int, parts: int) -> tuple[Any, list[dict[str, float]]]:
    """Three steps of weighted, smoothed focal loss; batches whose shares differ in their labels."""
    step = steps.make_train_step(
        PLAIN.apply,
        tiny.OPTIMIZER,
        tiny.normalise,
        seed=0,
        accumulate=parts,
        loss=losses.make(EVERYTHING, COUNTS),
    )
    spread = parallel.Spread(kind, tuple(jax.devices()[:count]))
    compiled, current = spread.compile(step), spread.start(tiny.create(PLAIN), None)
    metrics = []
    for batch in tiny.batches(3):
        order = np.argsort(batch["label"], kind="stable")
        dealt = {name: x[order] for name, x in batch.items()}
        current, found = compiled(current, spread.batch(dealt))
        metrics.append({name: float(value) for name, value in found.items()})
    return jax.device_get(current), metrics


@pytest.mark.parametrize(
    ("kind", "devices", "parts"), [*((kind, 4, 1) for kind in plan.PARALLEL), ("pmap", 1, 4)]
)
def test_neither_devices_nor_parts_change_a_weighted_loss(kind: str, devices: int, parts: int):
    (alone, its), (other, others) = trained("pmap", 1, 1), trained(kind, devices, parts)
    for one, found in zip(its, others, strict=True):
        assert found == pytest.approx(one, rel=2e-5)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=2e-5),
        other.params,
        alone.params,
    )
    np.testing.assert_allclose(other.tally.loss, alone.tally.loss, rtol=2e-5)


def test_the_step_minimises_the_weighted_mean_over_the_global_batch():
    loss, (batch,) = losses.make(EVERYTHING, COUNTS), tiny.batches(1)
    module = tiny.classifier(dropout=0.0)
    begun: state.TrainState = jax.device_get(tiny.create(module)())

    def wanted(params: Any) -> tuple[jax.Array, jax.Array]:
        logits, _ = module.apply(
            {"params": params, "batch_stats": begun.batch_stats},
            tiny.normalise(batch["image"]),
            train=True,
            mutable=["batch_stats"],
        )
        plain = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        return mean(loss, logits, batch["label"]), plain.sum()

    (value, plain), gradient = jax.value_and_grad(wanted, has_aux=True)(begun.params)
    synced = tiny.classifier(axis_name=steps.AXIS, dropout=0.0)
    step = steps.make_train_step(synced.apply, tiny.OPTIMIZER, tiny.normalise, seed=0, loss=loss)
    after, metrics = tiny.train(parallel.Spread("pmap"), [batch], step)
    assert metrics[0]["loss"] == pytest.approx(float(value), rel=2e-5)
    assert metrics[0]["gradient_norm"] == pytest.approx(float(optax.tree.norm(gradient)), rel=2e-5)
    np.testing.assert_allclose(after.tally.loss, plain, rtol=2e-5)
