"""What train --find-lr says: a learning rate to begin with, by a sweep over all that might do.

Smith, 2017, https://arxiv.org/abs/1506.01186
"""

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich import console as rich_console

from jaxall import config as config_lib
from jaxall import files
from jaxall.data import keeping
from jaxall.errors import UserError
from jaxall.reporting import progress, rates
from jaxall.runs import assembly, learners
from jaxall.training import parallel, plan

TABLE, PLOT = "lr_finder.csv", "lr_finder.png"
LOWEST, HIGHEST, STEPS = 1e-7, 1.0, 100
SPAN = 10  # steps, 0.7 of a power of ten, over which a fall is measured
KEPT = 0.9  # of the smoothed loss at each step
TOO_HIGH = 4.0  # times the lowest smoothed loss so far: the sweep is over


@dataclasses.dataclass(frozen=True, kw_only=True)
class RateSweep:
    """The loss at ever higher rates, each the same factor above the one before.

    Attributes:
        rates: ascending, [N].
        losses: of the batch at each, before its update, [N].
    """

    rates: Sequence[float]
    losses: Sequence[float]

    @property
    def smoothed(self) -> np.ndarray:
        """The mean of the losses so far, weighted towards the last, float64 [N]."""
        powers = KEPT ** np.arange(len(self.losses))[::-1]
        weighted = np.cumsum(np.asarray(self.losses, np.float64) * powers)
        return weighted / np.cumsum(powers)

    @property
    def tenth(self) -> float:
        """A tenth of the rate where the smoothed loss is lowest; NaN if it never falls."""
        lowest = int(self.smoothed.argmin())
        return self.rates[lowest] / 10 if lowest > self._first else math.nan

    @property
    def steepest(self) -> float:
        """The rate where the smoothed loss falls fastest, by powers of the rate; NaN if never.

        Over `SPAN` steps at a time: from one to the next, what is steepest is one batch's luck.
        """
        smoothed, first = self.smoothed, self._first
        lowest = int(smoothed.argmin())
        if lowest <= first:
            return math.nan
        span = min(SPAN, lowest - first)
        falls = smoothed[first + span : lowest + 1] - smoothed[first : lowest + 1 - span]
        return self.rates[first + int(falls.argmin()) + (span + 1) // 2]

    @property
    def is_clear(self) -> bool:
        """Whether the smoothed loss falls by more than single batches differ from it."""
        smoothed = self.smoothed
        lowest = int(smoothed.argmin())
        noise = np.std((np.asarray(self.losses) - smoothed)[: lowest + 1])
        return bool(smoothed[self._first] - smoothed[lowest] > noise)

    @property
    def _first(self) -> int:
        """Before it, too few losses are in the mean."""
        return max(1, len(self.losses) // 10)


def learning_rate(
    config: config_lib.Config, folder: pathlib.Path, console: rich_console.Console
) -> RateSweep:
    """Writes lr_finder.csv and lr_finder.png to a run's folder, and prints the rate to begin with.

    The first stage of the run is swept, from its first weights and over its first batches. The
    folder is set up as `train` would; no checkpoint is made.

    Args:
        config: validated; its own learning rate and schedule play no part.
        folder: of the run.
        console: where it is printed.

    Raises:
        UserError: as `train`, or the loss falls at no rate.
    """
    parallel.check_batch_size(config.train.batch_size, config.train.accumulate)
    sweep = _sweep(config, folder, console)
    if jax.process_index() == 0:
        _save(sweep, folder, config.name)
    console.print(
        f"steepest descent at {sweep.steepest:.2g}, a tenth of the lowest loss's rate is "
        f"{sweep.tenth:.2g}; {folder / PLOT}",
        soft_wrap=True,
    )
    rate = min(sweep.steepest, sweep.tenth)
    if math.isnan(rate):
        raise UserError(
            f"the loss falls at no rate from {LOWEST:g} to {sweep.rates[-1]:.2g}, see "
            f"{folder / PLOT}: are data, weights and loss as they should be?"
        )
    if not sweep.is_clear:
        console.print(
            "note: the loss falls by less than batches differ: look at the plot first, or sweep "
            "with a larger batch",
            style="yellow",
            soft_wrap=True,
        )
    console.print(f"to begin with: --config.optim.learning_rate={rate:.2g}")
    return sweep


def rate_at(step: Any) -> jax.Array:
    """The sweep's rate as a function of the step, from 0."""
    way = jnp.asarray(step, jnp.float32) / (STEPS - 1)
    return LOWEST * jnp.power(HIGHEST / LOWEST, way)


def _sweep(
    config: config_lib.Config, folder: pathlib.Path, console: rich_console.Console
) -> RateSweep:
    material = assembly.open_or_begin(config, folder, console)
    sources = material.source("train"), material.source("validation")
    source, _ = keeping.keep(sources, config.loader)
    draws = material.draws(config.balance)
    length = plan.Plan(
        examples=draws.epoch, batch_size=config.train.batch_size, epochs=config.train.epochs
    )
    classes = len(material.data_set.class_names)
    learner = learners.of(
        config, material.preprocessing, classes, length, draws.class_counts, rate_at
    )
    spread = parallel.Spread(config.train.parallel)
    step = spread.compile(learner.programs[0])
    current = spread.start(learner.create, learners.initial_weights(config, console))
    sweep = RateSweep(rates=(), losses=())
    with (
        learners.batches(config, source, draws) as batches,
        progress.bar(console, "learning rates", STEPS, "steps") as report,
    ):
        for number in range(STEPS):
            current, metrics = step(current, spread.batch(next(batches)))
            loss = float(metrics["loss"])
            if not math.isfinite(loss):
                break
            sweep = RateSweep(
                rates=(*sweep.rates, float(rate_at(number))), losses=(*sweep.losses, loss)
            )
            report(number + 1)
            if sweep.smoothed[-1] > TOO_HIGH * sweep.smoothed.min():
                break
    if not sweep.rates:
        raise UserError("the loss is not finite before the first update")
    return sweep


def _save(sweep: RateSweep, folder: pathlib.Path, title: str) -> None:
    rows = zip(sweep.rates, sweep.losses, sweep.smoothed.tolist(), strict=True)
    lines = [f"{rate:.9g},{loss:.9g},{smoothed:.9g}\n" for rate, loss, smoothed in rows]
    files.write(folder / TABLE, "learning_rate,loss,smoothed\n" + "".join(lines))
    marks = {"steepest descent": sweep.steepest, "lowest / 10": sweep.tenth}
    rates.sweep(sweep.rates, sweep.losses, sweep.smoothed, marks, folder / PLOT, title)
