"""Reads a step's metrics one step late, so that the device never waits for the host."""

import math
from collections.abc import Callable

import jax

from jaxall.errors import UserError
from jaxall.training import steps


class Watch:
    """Stops a run whose loss or gradient is no longer finite, and reports every few steps.

    Args:
        every: steps between reports.
        report: told (step, {"loss", "gradient_norm"}); steps count from 1.
    """

    def __init__(self, every: int, report: Callable[[int, dict[str, float]], None]):
        self._every = every
        self._report = report
        self._pending: tuple[int, steps.Metrics] | None = None

    def push(self, step: int, metrics: steps.Metrics) -> None:
        """Hands in a step's metrics, still being computed, and reads those of the one before."""
        self.drain()
        self._pending = (step, metrics)

    def drain(self) -> None:
        """Reads what is pending; call it before the state is saved.

        Raises:
            UserError: a metric is NaN or infinite; names the step.
        """
        if self._pending is None:
            return
        step, metrics = self._pending
        self._pending = None
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        bad = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise UserError(
                f"training stopped at step {step}: {', '.join(bad)}; checkpoints from before are "
                "kept. A lower learning rate, a warm-up or gradient clipping may help"
            )
        if step % self._every == 0:
            self._report(step, values)
