import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxall.errors import UserError
from jaxall.training import checkpoints, losses, mixing, parallel, plan, state, steps
from tests import tiny
from tests.training.test_accumulation import PLAIN

BOTH = mixing.MixingSettings(mixup=0.4, cutmix=1.0)
KINDS = {
    "mixup": mixing.MixingSettings(mixup=0.4),
    "cutmix": mixing.MixingSettings(cutmix=1.0),
    "both": BOTH,
}


def draws(settings: mixing.MixingSettings, count: int, size: int = 16) -> mixing.Mixed:
    """The mixings of so many steps, stacked."""

    def of_step(step: jax.Array) -> mixing.Mixed:
        batch = {"image": jnp.zeros((2, size, size, 3), jnp.uint8), "label": jnp.zeros(2, int)}
        found = mixing.mix(settings, batch, 0, step)[1]
        assert isinstance(found, mixing.Mixed)
        return found

    return jax.device_get(jax.jit(jax.vmap(of_step))(jnp.arange(count)))


def step_of(settings: mixing.MixingSettings | None, **options: Any) -> steps.TrainStep:
    module = tiny.classifier(axis_name=steps.AXIS)
    return steps.make_train_step(
        module.apply, tiny.OPTIMIZER, tiny.normalise, seed=0, mixed=settings, **options
    )


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_the_shares_of_mixup_are_of_the_beta_distribution(alpha: float):
    found = draws(mixing.MixingSettings(mixup=alpha), 1000, 4)
    assert stats.kstest(found.share, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert (found.own == found.share[:, None, None, None]).all()


def test_the_share_of_cutmix_is_the_area_outside_of_its_box():
    found = draws(KINDS["cutmix"], 500)
    assert set(np.unique(found.own)) == {0, 1}
    np.testing.assert_allclose(found.share, found.own.mean((1, 2, 3)), rtol=1e-6)
    for own in found.own[..., 0]:
        rows, columns = np.flatnonzero((own == 0).any(1)), np.flatnonzero((own == 0).any(0))
        assert (own == 0).sum() == len(rows) * len(columns), "one box"
        assert (np.diff(rows) == 1).all() and (np.diff(columns) == 1).all()


def test_boxes_of_cutmix_lie_everywhere_and_have_the_area_that_they_should():
    found = draws(KINDS["cutmix"], 4000, 32)
    is_cut = found.own[..., 0] == 0
    # The same on both sides of the middle, and as the paper's own code draws them.
    np.testing.assert_allclose(is_cut.mean(0), is_cut.mean(0)[::-1, ::-1], atol=0.04)
    generator = np.random.default_rng(0)
    half = (32 * np.sqrt(1 - generator.beta(1, 1, 4000))).astype(int) // 2
    middle = generator.integers(0, 32, (2, 4000))
    sides = np.clip(middle + half, 0, 32) - np.clip(middle - half, 0, 32)
    assert 1 - found.share.mean() == pytest.approx(sides.prod(0).mean() / 32**2, abs=0.03)


def test_of_both_kinds_each_step_takes_one_at_random():
    found = draws(BOTH, 400)
    is_mixup = np.ptp(found.own, axis=(1, 2, 3)) == 0
    assert 0.4 < is_mixup.mean() < 0.65  # a box of no size looks like mixup


@pytest.mark.parametrize("count", range(2, 8))
def test_every_picture_has_another_as_its_partner(count: int):
    partners = mixing.partners(count)
    assert (partners != np.arange(count)).all()
    assert set(partners) <= set(range(count))
    if count % 2 == 0:
        assert (partners[partners] == np.arange(count)).all()


@pytest.mark.parametrize("name", KINDS)
def test_pictures_and_labels_are_mixed_by_the_same_share(name: str):
    (batch,) = tiny.batches(1, size=4)
    for step in range(4):
        whole, mix = mixing.mix(KINDS[name], batch, 0, jnp.array(step))
        assert isinstance(mix, mixing.Mixed)
        partner = mixing.partners(4)
        plain = tiny.normalise(batch["image"])
        own = np.asarray(mix.own)[None]
        np.testing.assert_allclose(
            mix.pictures(whole, tiny.normalise),
            own * plain + (1 - own) * plain[partner],
            rtol=1e-6,
            atol=1e-6,
        )
        targets = mix.by_label(whole, lambda labels: jax.nn.one_hot(labels, tiny.CLASSES))
        hard = np.eye(tiny.CLASSES)[batch["label"]]
        share = float(mix.share)
        np.testing.assert_allclose(
            targets, share * hard + (1 - share) * hard[partner], rtol=1e-6, atol=1e-7
        )


def test_the_loss_of_a_mixed_label_is_torchs_of_the_soft_label():
    torch = pytest.importorskip("torch")
    (batch,) = tiny.batches(1, size=6)
    whole, mix = mixing.mix(KINDS["mixup"], batch, 0, jnp.array(3))
    logits = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    loss = losses.Loss(label_smoothing=0.1)
    found = mix.by_label(whole, functools.partial(loss, jnp.array(logits)))
    share, hard = float(mix.share), np.eye(3, dtype=np.float32)[batch["label"]]
    soft = share * hard + (1 - share) * hard[mixing.partners(6)]
    wanted = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(
        torch.tensor(logits), torch.tensor(soft)
    )
    np.testing.assert_allclose(found.mean(), wanted.item(), rtol=1e-6)


def test_without_settings_the_step_is_the_same_program():
    def program(settings: mixing.MixingSettings | None, loss: losses.Loss | None) -> str:
        spread = parallel.Spread("shard_map")
        step: Any = spread.compile(step_of(settings, loss=loss))
        batch = spread.batch(tiny.batches(1)[0])
        return step.lower(jax.eval_shape(tiny.create()), batch).as_text()

    assert program(mixing.MixingSettings(), losses.Loss()) == program(None, None)
    assert program(BOTH, None) != program(None, None)


@functools.cache
def trained(kind: str, count: int) -> tuple[state.TrainState, list[dict[str, float]]]:
    spread = parallel.Spread(kind, tuple(jax.devices()[:count]))
    step = step_of(BOTH, loss=losses.make(losses.LossSettings(class_weights="sqrt"), (3, 2, 1)))
    return tiny.train(spread, tiny.batches(5), step)


def test_pmap_and_shard_map_give_the_same_bits():
    (pmapped, its), (mapped, others) = trained("pmap", 4), trained("shard_map", 4)
    assert tiny.bits(pmapped) == tiny.bits(mapped)
    assert its == others


def test_one_device_and_four_learn_alike():
    (alone, its), (together, others) = trained("pmap", 1), trained("pmap", 4)
    for one, four in zip(its, others, strict=True):
        assert four["loss"] == pytest.approx(one["loss"], rel=2e-5)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=2e-5),
        jax.device_get(together.params),
        jax.device_get(alone.params),
    )
    np.testing.assert_array_equal(together.tally.confusion, alone.tally.confusion)


def test_the_tally_counts_pictures_by_their_own_labels():
    confusion = trained("pmap", 4)[0].tally.confusion
    labels = np.concatenate([batch["label"] for batch in tiny.batches(5)])
    np.testing.assert_array_equal(confusion.sum(1), np.bincount(labels, minlength=3))


@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_a_run_that_goes_on_ends_with_the_same_bits(kind: str, tmp_path: Any):
    spread, fed = parallel.Spread(kind), tiny.batches(5)
    step, current = spread.compile(step_of(BOTH)), spread.start(tiny.create(), None)
    for number, batch in enumerate(fed, 1):
        current, _ = step(current, spread.batch(batch))
        if number == 2:
            store = checkpoints.Checkpoints(tmp_path, spread)
            store.save(current, number, None)
            store.close()
    store = checkpoints.Checkpoints(tmp_path, spread)
    again = store.restore(jax.eval_shape(tiny.create()))
    store.close()
    for batch in fed[2:]:
        again, _ = step(again, spread.batch(batch))
    assert tiny.bits(again) == tiny.bits(current)


def test_the_update_of_the_parts_is_that_of_the_whole_batch():
    spread, found = parallel.Spread("pmap", (jax.devices()[0],)), []
    for parts in (1, 4):
        step = steps.make_train_step(
            PLAIN.apply, tiny.OPTIMIZER, tiny.normalise, seed=0, accumulate=parts, mixed=BOTH
        )
        begun = spread.start(tiny.create(PLAIN), None)
        after, metrics = spread.compile(step)(begun, spread.batch(tiny.batches(1)[0]))
        found.append(jax.device_get((after.params, metrics)))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), *found)


def test_a_picture_alone_on_its_device_cannot_be_mixed():
    (batch,) = tiny.batches(1, size=4)
    spread = parallel.Spread("pmap")
    with pytest.raises(UserError, match="mixing needs at least 2 pictures on each device; got 1"):
        spread.compile(step_of(BOTH))(spread.start(tiny.create(), None), spread.batch(batch))


def test_all_impossible_settings_are_named_at_once():
    with pytest.raises(UserError) as caught:
        mixing.MixingSettings(mixup=-1.0, cutmix=float("inf")).validate()
    assert str(caught.value) == (
        "mixing.mixup is at least 0 and finite; got -1.0; "
        "mixing.cutmix is at least 0 and finite; got inf"
    )
