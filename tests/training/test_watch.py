from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxall.errors import UserError
from jaxall.training import loop, parallel, state, steps, watch

NAN, INF = float("nan"), float("inf")


def metrics(loss: float = 1.0, norm: float = 2.0) -> steps.Metrics:
    return {"loss": jnp.float32(loss), "gradient_norm": jnp.float32(norm)}


def watching(every: int = 1) -> tuple[watch.Watch, list[tuple[int, dict[str, float]]]]:
    told: list[tuple[int, dict[str, float]]] = []
    return watch.Watch(every, lambda step, values: told.append((step, values))), told


def test_a_step_is_read_when_the_next_one_has_been_handed_in():
    guard, told = watching()
    guard.push(1, metrics(0.5))
    assert told == []
    guard.push(2, metrics(0.25))
    assert told == [(1, {"loss": 0.5, "gradient_norm": 2.0})]
    guard.drain()
    assert told[1:] == [(2, {"loss": 0.25, "gradient_norm": 2.0})]
    guard.drain()
    assert len(told) == 2


def test_every_few_steps_are_reported():
    guard, told = watching(every=3)
    for step in range(1, 11):
        guard.push(step, metrics())
    guard.drain()
    assert [step for step, _ in told] == [3, 6, 9]


@pytest.mark.parametrize(
    ("found", "named"),
    [
        (metrics(loss=NAN), "loss nan"),
        (metrics(loss=INF), "loss inf"),
        (metrics(norm=NAN), "gradient_norm nan"),
        (metrics(NAN, INF), "gradient_norm inf, loss nan"),
    ],
)
def test_a_number_that_is_not_finite_stops_the_run_and_names_its_step(
    found: steps.Metrics, named: str
):
    guard, told = watching(every=10)
    guard.push(6, metrics())
    guard.push(7, found)
    with pytest.raises(UserError, match=f"stopped at step 7: {named}; checkpoints from before"):
        guard.push(8, metrics())
    assert told == []


class Store:
    """Stands in for the checkpoints and notes what they are asked to keep."""

    def __init__(self) -> None:
        self.saved: list[tuple[int, Any]] = []

    def save(self, state: Any, step: int, metrics: Any) -> None:
        self.saved.append((step, metrics))


def at(step: int, parameter: float = 1.0) -> state.TrainState:
    """A state with one parameter."""
    return state.TrainState(
        step=jnp.int32(step),
        params={"a": jnp.float32(parameter)},
        batch_stats={},
        opt_state=(),
        tally=state.empty_tally(2),
    )


def run(
    until: int,
    *,
    losses: dict[int, float] | None = None,
    parameters: dict[int, float] | None = None,
    checkpoint_every: int = 0,
    stop_from: float = INF,
) -> tuple[Store, list[int], Exception | None]:
    """Runs a loop from step 0; returns its store, the steps reported, and how it ended."""
    guard, told = watching()
    store = Store()

    def step(before: state.TrainState, batch: Any) -> Any:
        number = int(before.step) + 1
        after = at(number, (parameters or {}).get(number, 1.0))
        return after, metrics((losses or {}).get(number, 1.0))

    going = loop.Loop(
        step_at=lambda number: step,
        spread=parallel.Spread("pmap"),
        batches=iter([{"label": np.zeros(4, np.int32)}] * 100),
        store=store,  # pyright: ignore[reportArgumentType]
        watch=guard,
        batch_size=4,
        checkpoint_every=checkpoint_every,
        must_stop=lambda number: number >= stop_from,
    )
    ended = None
    try:
        after, waited = going.run(at(0), until, lambda done: None)
        assert after.step == until
        assert waited >= 0
    except (UserError, loop.Terminated) as error:
        ended = error
    return store, [number for number, _ in told], ended


def test_a_loop_reads_every_step_before_it_returns():
    store, told, ended = run(5)
    assert (store.saved, told, ended) == ([], [1, 2, 3, 4, 5], None)


def test_checkpoints_come_inside_an_epoch_and_leave_its_end_to_the_caller():
    store, _, ended = run(9, checkpoint_every=3)
    assert (store.saved, ended) == ([(3, None), (6, None)], None)


def test_a_state_that_is_not_finite_is_never_saved():
    store, told, ended = run(9, checkpoint_every=3, losses={6: NAN})
    assert isinstance(ended, UserError)
    assert "step 6" in str(ended)
    assert store.saved == [(3, None)]
    assert told == [1, 2, 3, 4, 5]


def test_a_state_that_is_not_finite_is_never_handed_back():
    _, _, ended = run(9, losses={9: INF})
    assert isinstance(ended, UserError)
    assert "step 9" in str(ended)


def test_a_state_that_is_not_finite_is_not_saved_by_a_stop_either():
    store, _, ended = run(9, losses={4: NAN}, stop_from=4)
    assert isinstance(ended, UserError)
    assert store.saved == []


@pytest.mark.parametrize(("checkpoint_every", "stop_from"), [(0, INF), (3, INF), (0, 6)])
def test_an_update_that_is_not_finite_is_seen_before_its_state_is_used(checkpoint_every, stop_from):
    # The loss of the step itself was still finite.
    until = 9 if checkpoint_every or stop_from < INF else 6
    store, _, ended = run(
        until, parameters={6: NAN}, checkpoint_every=checkpoint_every, stop_from=stop_from
    )
    assert isinstance(ended, UserError)
    assert "after step 6 1 of 1 arrays of the network are not finite, the first" in str(ended)
    assert 6 not in dict(store.saved)


def test_a_stop_saves():
    store, told, ended = run(9, stop_from=4)
    assert isinstance(ended, loop.Terminated)
    assert store.saved == [(4, None)]
    assert told == [1, 2, 3, 4]


def test_a_stop_at_the_last_step_leaves_the_epoch_to_be_finished():
    store, _, ended = run(9, stop_from=9)
    assert ended is None
    assert store.saved == []
