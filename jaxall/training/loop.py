"""Steps, one after another, up to a given one."""

import dataclasses
import time
from collections.abc import Callable, Iterator

import jax

from jaxall.training import checkpoints, parallel, steps, watch
from jaxall.training.state import Tally, TrainState, check_finite, empty_tally


class Terminated(Exception):
    """The run was asked to stop, and its state has been saved."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Epoch:
    """What an epoch's steps were.

    Attributes:
        tally: of its pictures, on the host.
        pictures: how many were seen since the start or continuation of the run, on all hosts.
        seconds: that they took.
        waited: of these, how many waiting for batches took.
    """

    tally: Tally
    pictures: int
    seconds: float
    waited: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """What the steps of a run share.

    Attributes:
        step_at: the program, compiled by `spread`, of the step of a number; they count from 1.
        spread: lays batches out for it.
        batches: this host's shares of the global batches, from the state's step on.
        store: where the state is saved inside an epoch.
        watch: reads the metrics.
        batch_size: pictures in a step, on all hosts.
        checkpoint_every: steps between those checkpoints; 0 for none.
        must_stop: asked after every step, told its number; all hosts must answer alike, and an
            answer once given stands.
    """

    step_at: Callable[[int], steps.TrainStep]
    spread: parallel.Spread
    batches: Iterator[steps.Batch]
    store: checkpoints.Checkpoints
    watch: watch.Watch
    batch_size: int
    checkpoint_every: int
    must_stop: Callable[[int], bool]

    def epoch(
        self, state: TrainState, until: int, progress: Callable[[float], None]
    ) -> tuple[TrainState, Epoch]:
        """As `run`, for the steps that end an epoch; the new state's tally is empty."""
        begun, first = time.monotonic(), int(state.step)
        state, waited = self.run(state, until, progress)
        seconds = time.monotonic() - begun
        tally = jax.device_get(state.tally)
        empty = self.spread.place(empty_tally(len(tally.confusion)))
        pictures = (until - first) * self.batch_size
        epoch = Epoch(tally=tally, pictures=pictures, seconds=seconds, waited=waited)
        return dataclasses.replace(state, tally=empty), epoch

    def run(
        self, state: TrainState, until: int, progress: Callable[[float], None]
    ) -> tuple[TrainState, float]:
        """Steps until the state's step is `until`.

        Args:
            state: is donated.
            until: at least the state's step.
            progress: told how many pictures, on all hosts, are done.

        Returns:
            The new state (the old one is donated) and the seconds spent waiting for batches. Time
            in which the devices were still at a step is not waiting.

        Raises:
            Terminated: `must_stop` said so before the last of these steps; the state is saved.
            UserError: a metric or the state is not finite.
        """
        first = int(state.step)
        batch, waited = self._fetch({}) if first < until else ({}, 0.0)
        for number in range(first + 1, until + 1):
            state, metrics = self.step_at(number)(state, batch)
            self.watch.push(number, metrics)
            progress((number - first) * self.batch_size)
            # A stop at `until` waits for the caller, whose epoch ends there, and the step after.
            if self.must_stop(number) and number < until:
                self._save(state, number)
                raise Terminated
            if self.checkpoint_every and number % self.checkpoint_every == 0 and number < until:
                self._save(state, number)
            # The next batch goes to the devices while they are at this step. Fetched last: what
            # a picture does to it, no due checkpoint is lost.
            if number < until:
                batch, seconds = self._fetch(metrics)
                waited += seconds
        self.watch.drain()
        check_finite(state)
        return state, waited

    def _fetch(self, metrics: steps.Metrics) -> tuple[steps.Batch, float]:
        """The next batch, on its way to the devices, and the seconds that they may have waited.

        Args:
            metrics: of the step that is under way; empty if there is none.
        """
        asked = time.monotonic()
        batch = self.spread.batch(next(self.batches))
        # When the step was through isn't known: all of the time counts, or none.
        is_idle = all(
            value.is_ready()  # pyright: ignore[reportAttributeAccessIssue] # the type lacks it
            for value in metrics.values()
        )
        return batch, time.monotonic() - asked if is_idle else 0.0

    def _save(self, state: TrainState, number: int) -> None:
        # A state that is not finite must never be saved. What the watch reads is from before the
        # last update.
        self.watch.drain()
        check_finite(state)
        self.store.save(state, number, None)
