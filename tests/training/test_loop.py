import dataclasses
import itertools
from typing import Any

import jax
import numpy as np
import pytest

from jaxall.errors import UserError
from jaxall.training import checkpoints, loop, parallel, plan, watch
from tests import tiny


class Recorder:
    """Stands in for the compiled step, the watch and the pipeline, and writes down their turns.

    Args:
        is_ready: whether a step is through by the time that the next batch has come.
    """

    def __init__(self, *, is_ready: bool = False):
        self.turns: list[str] = []
        self.clock = 0.0
        self._is_ready = is_ready
        self._numbers = itertools.count(1)

    def step(self, state: Any, batch: Any) -> tuple[Any, Any]:
        self.turns.append(f"step {batch}")
        return state, {"loss": self}

    def is_ready(self) -> bool:
        return self._is_ready

    def batch(self, batch: int) -> int:
        self.turns.append(f"lay {batch}")
        return batch

    def push(self, number: int, metrics: Any) -> None:
        self.turns.append(f"watch {number}")

    def drain(self) -> None:
        self.turns.append("drain")

    def __iter__(self) -> "Recorder":
        return self

    def __next__(self) -> int:
        self.clock += 1.0  # as long as a batch takes
        return next(self._numbers)

    def loop(self, must_stop: Any = lambda number: False) -> loop.Loop:
        seat: Any = self
        return loop.Loop(
            step_at=lambda number: self.step,
            spread=seat,
            batches=seat,
            store=seat,
            watch=seat,
            batch_size=4,
            checkpoint_every=0,
            must_stop=must_stop,
        )


@pytest.fixture
def begun(monkeypatch):
    """A state at step 0."""
    monkeypatch.setattr(loop, "check_finite", lambda state: None)
    return type("State", (), {"step": 0})()


def test_the_next_batch_is_laid_out_while_a_step_is_under_way(begun):
    seen = Recorder()
    seen.loop().run(begun, 2, lambda done: None)
    assert seen.turns == ["lay 1", "step 1", "watch 1", "lay 2", "step 2", "watch 2", "drain"]


def test_a_batch_that_cannot_be_read_loses_no_checkpoint_that_is_due(begun):
    saved = []

    def batches() -> Any:
        yield 1
        yield 2
        raise UserError("can't read the picture")

    seen = Recorder()
    seen.save = lambda state, number, metrics: saved.append(number)  # type: ignore[attr-defined]
    running = dataclasses.replace(seen.loop(), batches=batches(), checkpoint_every=2)
    with pytest.raises(UserError, match="can't read"):
        running.run(begun, 4, lambda done: None)
    assert saved == [2]


def test_no_batch_is_taken_beyond_the_last_step(begun):
    seen = Recorder()
    running = seen.loop()
    running.run(begun, 0, lambda done: None)
    running.run(begun, 3, lambda done: None)
    assert next(seen) == 4


@pytest.mark.parametrize("is_ready, seconds", [(True, 3.0), (False, 1.0)])
def test_waiting_is_what_the_devices_waited_too(begun, monkeypatch, is_ready, seconds):
    seen = Recorder(is_ready=is_ready)
    monkeypatch.setattr(loop.time, "monotonic", lambda: seen.clock)
    _, waited = seen.loop().run(begun, 3, lambda done: None)
    assert waited == seconds  # of the first batch all, as nothing is under way


@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_a_stop_costs_no_bit(kind: str, tmp_path):
    spread = parallel.Spread(kind)
    fed = tiny.batches(5)
    compiled = spread.compile(tiny.step())

    def run(batches: Any, state: Any, folder: str, stop: int) -> Any:
        with checkpoints.Checkpoints(tmp_path / folder, spread) as store:
            running = loop.Loop(
                step_at=lambda number: compiled,
                spread=spread,
                batches=batches,
                store=store,
                watch=watch.Watch(1, lambda number, values: None),
                batch_size=tiny.BATCH_SIZE,
                checkpoint_every=0,
                must_stop=lambda number: number == stop,
            )
            return running.run(state, len(fed), lambda done: None)[0]

    straight = run(iter(fed), spread.start(tiny.create(), None), "straight", 0)
    with pytest.raises(loop.Terminated):
        run(iter(fed), spread.start(tiny.create(), None), "cut", 2)
    with checkpoints.Checkpoints(tmp_path / "cut", spread) as store:
        saved = store.restore(jax.eval_shape(tiny.create()))
    assert int(saved.step) == 2
    resumed = run(iter(fed[2:]), saved, "resumed", 0)
    assert tiny.bits(resumed) == tiny.bits(straight)


@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_a_batch_lies_on_the_devices_that_the_step_wants_it_on(kind: str):
    spread = parallel.Spread(kind)
    (batch,) = tiny.batches(1)
    laid = spread.batch(batch)
    share = tiny.BATCH_SIZE // jax.device_count()
    for key, array in laid.items():
        assert isinstance(array, jax.Array)
        assert len(array.sharding.device_set) == jax.device_count()
        pieces = [np.asarray(shard.data) for shard in array.addressable_shards]
        dealt = [piece.reshape(share, *batch[key].shape[1:]) for piece in pieces]
        np.testing.assert_array_equal(np.concatenate(dealt), batch[key])


@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_a_step_moves_no_batch_between_host_and_devices(kind: str):
    spread = parallel.Spread(kind)
    compiled, fed = spread.compile(tiny.step()), [spread.batch(x) for x in tiny.batches(2)]
    state, _ = compiled(spread.start(tiny.create(), None), fed[0])
    with jax.transfer_guard("disallow"):
        jax.block_until_ready(compiled(state, fed[1]))
