import dataclasses
import functools
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from jaxall.errors import UserError
from jaxall.models import head
from jaxall.training import checkpoints, parallel, plan, state
from tests import tiny

SPREAD = parallel.Spread("shard_map")
NAN = float("nan")


@functools.cache
def begun() -> state.TrainState:
    """A fresh state, in the host's memory."""
    return jax.device_get(SPREAD.start(tiny.create(), None))


def at(step: int, spread: parallel.Spread = SPREAD) -> state.TrainState:
    """A state that no other step has, every leaf of it."""
    changed = jax.tree.map(lambda x: x + np.asarray(step / 8, x.dtype), begun())
    return spread.place(changed.replace(step=np.int32(step)))


def shapes() -> state.TrainState:
    return jax.eval_shape(tiny.create())


def variables(module: Any = None) -> dict[str, Any]:
    abstract = jax.eval_shape(tiny.create(module))
    return {"params": abstract.params, "batch_stats": abstract.batch_stats}


def write(folder: pathlib.Path, *saves: tuple[int, Any]) -> checkpoints.Checkpoints:
    store = checkpoints.Checkpoints(folder, SPREAD)
    for step, metrics in saves:
        store.save(at(step), step, metrics)
    store.close()
    return store


def scored(score: float, loss: float = 1.0) -> dict[str, float]:
    return {"score": score, "loss": loss}


def kept(folder: pathlib.Path) -> list[int]:
    return sorted(int(path.name) for path in (folder / checkpoints.FOLDER).iterdir())


def restore(folder: pathlib.Path, spread: parallel.Spread = SPREAD) -> state.TrainState:
    store = checkpoints.Checkpoints(folder, spread)
    try:
        return store.restore(shapes())
    finally:
        store.close()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A run with the checkpoints 4 and 8, of which 4 is the better."""
    folder = tmp_path_factory.mktemp("two")
    write(folder, (4, scored(0.9)), (8, scored(0.5)))
    return folder


@pytest.fixture
def damaged(two: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of it to be damaged."""
    return pathlib.Path(shutil.copytree(two, tmp_path / "run"))


@pytest.mark.parametrize(
    ("saves", "best", "left"),
    [
        # Scores that rise and then fall.
        ([0.1, 0.5, 0.9, 0.7, 0.6, 0.4], 3, [3, 5, 6]),
        # The best is among the latest two.
        ([0.1, 0.2, 0.3], 3, [2, 3]),
        # A score that can't be computed is never the best, ...
        ([0.2, NAN, NAN, NAN], 1, [1, 3, 4]),
        # ... not even the first.
        ([NAN, 0.2, 0.1, 0.1], 2, [2, 3, 4]),
        # Of equal scores and losses the later is.
        ([0.5, 0.8, 0.8, 0.1, 0.1], 3, [3, 4, 5]),
    ],
)
def test_the_latest_two_and_the_best_are_kept(
    saves: list[float], best: int, left: list[int], tmp_path: pathlib.Path
):
    store = write(tmp_path, *((step, scored(score)) for step, score in enumerate(saves, 1)))
    assert (store.best, store.latest) == (best, len(saves))
    assert kept(tmp_path) == left
    assert checkpoints.find(tmp_path, "best") == best


def test_of_equal_scores_the_lower_loss_is_the_best(tmp_path: pathlib.Path):
    losses = [(1, 0.4), (2, 0.2), (3, 0.3), (4, NAN), (5, 0.9)]
    store = write(tmp_path, *((step, scored(0.8, loss)) for step, loss in losses))
    assert store.best == 2
    assert kept(tmp_path) == [2, 4, 5]


def test_a_checkpoint_inside_an_epoch_does_not_displace_the_best(tmp_path: pathlib.Path):
    saves = [(1, scored(0.9)), (2, None), (3, None), (4, scored(0.3)), (5, None), (6, None)]
    store = write(tmp_path, *saves)
    assert store.best == 1
    assert kept(tmp_path) == [1, 5, 6]
    assert checkpoints.find(tmp_path, "best") == 1


def test_the_best_outlives_a_restart(tmp_path: pathlib.Path):
    write(tmp_path, (1, scored(0.9)), (2, scored(0.1)))
    write(tmp_path, (3, scored(0.2)), (4, scored(0.3)))
    assert kept(tmp_path) == [1, 3, 4]


def test_a_step_that_is_saved_already_is_not_saved_again(tmp_path: pathlib.Path):
    store = checkpoints.Checkpoints(tmp_path, SPREAD)
    store.save(at(1), 1, None)
    store.save(at(2), 1, None)
    store.close()
    assert int(restore(tmp_path).step) == 1


@pytest.mark.parametrize("saved_by", plan.PARALLEL)
@pytest.mark.parametrize("restored_by", plan.PARALLEL)
def test_a_state_comes_back_bit_by_bit_where_it_must_lie(
    saved_by: str, restored_by: str, tmp_path: pathlib.Path
):
    spread = parallel.Spread(saved_by)
    store = checkpoints.Checkpoints(tmp_path, spread)
    store.save(at(3, spread), 3, None)
    store.close()
    spread = parallel.Spread(restored_by)
    restored = restore(tmp_path, spread)
    assert tiny.bits(restored) == tiny.bits(at(3))
    assert jax.tree.structure(restored) == jax.tree.structure(at(3))
    assert all(leaf.sharding == spread.replicated for leaf in jax.tree.leaves(restored))


def test_a_state_comes_back_on_another_number_of_devices(two: pathlib.Path):
    alone = restore(two, parallel.Spread("pmap", (jax.devices()[0],)))
    assert tiny.bits(alone) == tiny.bits(at(8))
    assert all(len(leaf.sharding.device_set) == 1 for leaf in jax.tree.leaves(alone))


def test_a_checkpoint_is_found_by_its_name_or_its_step(two: pathlib.Path):
    assert checkpoints.find(two, "best") == 4
    assert checkpoints.find(two, "latest") == 8
    assert checkpoints.find(two, "4") == 4


@pytest.mark.parametrize("which", ["5", "newest", "-4", "", "4.0"])
def test_a_checkpoint_that_is_not_there_is_told_with_those_that_are(which: str, two: pathlib.Path):
    with pytest.raises(UserError, match=rf"no checkpoint '{which}' .* a step of \[4, 8\]$"):
        checkpoints.find(two, which)


def test_where_nothing_was_validated_the_best_is_the_latest(tmp_path: pathlib.Path):
    store = write(tmp_path, (1, None), (2, None))
    assert store.best is None
    assert checkpoints.find(tmp_path, "best") == 2


def test_a_folder_without_checkpoints_is_told(tmp_path: pathlib.Path):
    with pytest.raises(UserError, match=r"no checkpoints in .* wanted the folder of a run"):
        checkpoints.find(tmp_path, "best")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_has_saved_nothing_has_no_checkpoint(tmp_path: pathlib.Path):
    store = write(tmp_path)
    assert (store.latest, store.best) == (None, None)
    with pytest.raises(UserError, match=r"no checkpoint 'best' .* a step of \[\]"):
        checkpoints.find(tmp_path, "best")


def test_inference_gets_parameters_and_statistics_only(two: pathlib.Path):
    found = checkpoints.load_variables(two, 4, variables())
    assert sorted(found) == ["batch_stats", "params"]
    assert tiny.bits(found["params"]) == tiny.bits(at(4).params)
    assert tiny.bits(found["batch_stats"]) == tiny.bits(at(4).batch_stats)
    assert all(leaf.sharding.device_set == {jax.devices()[0]} for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (
            head.Classifier(tiny.Backbone(), head.LinearHead(4)),
            r"2 arrays differ, the first: params\.head\.dense\.bias: wanted \(4,\), got \(3,\)$",
        ),
        (
            head.Classifier(tiny.Backbone(), head.TwoLayerHead(3, 8)),
            r"20 arrays differ, .*: batch_stats\.head\.norm0\.mean: wanted \(12,\), got none$",
        ),
    ],
)
def test_weights_of_another_head_are_refused_in_one_line(module: Any, told: str, two: pathlib.Path):
    with pytest.raises(UserError, match=told) as caught:
        checkpoints.load_variables(two, 8, variables(module))
    assert "\n" not in str(caught.value)


def test_weights_that_the_model_has_no_place_for_are_refused(two: pathlib.Path):
    wanted = variables()
    wanted["params"]["backbone"].pop("conv1")
    told = r"the first: params\.backbone\.conv1\.kernel: wanted none, got \(3, 3, 8, 12\)"
    with pytest.raises(UserError, match=told):
        checkpoints.load_variables(two, 8, wanted)


def test_what_a_kill_left_half_written_is_passed_over_and_cleaned_up(damaged: pathlib.Path):
    folder = damaged / checkpoints.FOLDER
    left = folder / "12.orbax-checkpoint-tmp"
    shutil.copytree(folder / "8", left)
    (left / "_CHECKPOINT_METADATA").unlink()
    assert checkpoints.find(damaged, "latest") == 8
    assert left.exists(), "reading must leave a run that may be training alone"
    store = checkpoints.Checkpoints(damaged, SPREAD)
    assert store.latest == 8
    assert int(store.restore(shapes()).step) == 8
    store.save(at(12), 12, None)
    store.close()
    assert not left.exists()
    assert int(restore(damaged).step) == 12


def _cut(pattern: str) -> Callable[[pathlib.Path], None]:
    def cut(checkpoint: pathlib.Path) -> None:
        files = [path for path in checkpoint.rglob(pattern) if path.is_file()]
        assert files
        for path in files:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return cut


def _empty(checkpoint: pathlib.Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


# Arrays that are cut leave Orbax's threads complaining for a moment: see test_resume.py for those.
DAMAGE = {"description cut": _cut("_METADATA"), "folder empty": _empty}


@pytest.mark.parametrize("spoil", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_named_and_deleting_it_goes_back_to_the_one_before(
    spoil: Callable[[pathlib.Path], None], damaged: pathlib.Path
):
    newest = damaged / checkpoints.FOLDER / "8"
    spoil(newest)
    with pytest.raises(UserError, match=r"8 can't be read"):
        checkpoints.load_variables(damaged, 8, variables())
    with pytest.raises(UserError) as caught:
        restore(damaged)
    told = str(caught.value)
    assert f"checkpoint {newest} can't be read" in told
    assert "delete that folder, and the run goes on from step 4" in told
    assert "\n" not in told
    shutil.rmtree(newest)
    assert tiny.bits(restore(damaged)) == tiny.bits(at(4))


def test_a_run_whose_only_checkpoint_is_damaged_is_told_that_it_starts_anew(
    damaged: pathlib.Path,
):
    shutil.rmtree(damaged / checkpoints.FOLDER / "4")
    _cut("_METADATA")(damaged / checkpoints.FOLDER / "8")
    with pytest.raises(UserError, match="delete that folder, and the run starts anew"):
        restore(damaged)


def test_metrics_that_were_cut_off_are_named(damaged: pathlib.Path):
    path = damaged / checkpoints.FOLDER / "8"
    _cut("metrics/metrics")(path)
    for read in (restore, lambda folder: checkpoints.find(folder, "best")):
        with pytest.raises(UserError, match=f"metrics of checkpoint {path} .* delete that folder"):
            read(damaged)
    shutil.rmtree(path)
    assert checkpoints.find(damaged, "latest") == 4


def test_the_best_of_none_is_none():
    assert checkpoints.best_of({}) is None
    assert checkpoints.best_of({1: None, 2: None}) is None
    assert checkpoints.best_of({1: scored(NAN), 2: None}) == 1


def test_a_checkpoint_that_cannot_be_written_is_told(tmp_path: pathlib.Path, monkeypatch):
    store = checkpoints.Checkpoints(tmp_path, SPREAD)

    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("OUT_OF_RANGE: Failed writing")

    monkeypatch.setattr(store._checkpointer, "save_async", refuse)
    wanted = f"can't be written to {tmp_path}/checkpoints .*Failed writing.*before are kept"
    with pytest.raises(UserError, match=wanted), store:
        store.save(at(1), 1, None)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, state.AveragedState]:
    """A checkpoint of a run that keeps averages, and its state."""
    folder = tmp_path_factory.mktemp("averaged")
    plain = begun()
    ema = jax.tree.map(lambda x: x + np.float32(0.5), plain.variables)
    fields = {field.name: getattr(plain, field.name) for field in dataclasses.fields(plain)}
    kept = SPREAD.place(state.AveragedState(**fields, ema=ema))
    store = checkpoints.Checkpoints(folder, SPREAD)
    store.save(kept, 4, None)
    store.close()
    return folder, jax.device_get(kept)


def test_averages_come_back_with_the_state(averaged: Any):
    folder, kept = averaged
    with checkpoints.Checkpoints(folder, SPREAD) as store:
        restored = store.restore(jax.eval_shape(lambda: kept))
    assert isinstance(restored, state.AveragedState)
    assert tiny.bits(restored) == tiny.bits(kept)


@pytest.mark.parametrize("weights", checkpoints.WEIGHTS)
def test_inference_gets_the_averages_unless_it_asks_for_the_raw_weights(
    weights: str, averaged: Any
):
    folder, kept = averaged
    found = checkpoints.load_variables(folder, 4, variables(), weights)
    wanted = {"params": kept.params, "batch_stats": kept.batch_stats}
    assert tiny.bits(found) == tiny.bits(wanted if weights == "raw" else kept.ema)


@pytest.mark.parametrize("weights", ["judged", "raw"])
def test_a_checkpoint_without_averages_gives_its_weights(weights: str, two: pathlib.Path):
    found = checkpoints.load_variables(two, 4, variables(), weights)
    assert tiny.bits(found["params"]) == tiny.bits(at(4).params)


def test_averages_that_were_not_kept_are_refused(two: pathlib.Path):
    with pytest.raises(UserError, match=r"4 has no averaged weights: train\.ema was 0$"):
        checkpoints.load_variables(two, 4, variables(), "ema")
    with pytest.raises(UserError, match=r"--weights is one of judged, ema, raw; got 'mean'"):
        checkpoints.check_weights("mean")
