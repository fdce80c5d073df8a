"""A run's stages as steps: what each of them trains, and its compiled program."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxall.training import optim, parallel, plan, steps
from jaxall.training.freezing import Scope
from jaxall.training.state import TrainState


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """Steps that train the same part of a network.

    Attributes:
        start: the step that they follow; 0 for the first.
        scope: what they train.
        factor: multiplies the learning rate.
    """

    start: int
    scope: Scope
    factor: float

    def describe(self, params: Any) -> str:
        """A line for people; of `params` shapes are enough."""
        total, trained = (
            sum(x.size for x in jax.tree.leaves(tree)) for tree in (params, self.scope.pick(params))
        )
        norms = ", batch statistics frozen" if self.scope.batch_norm == "frozen" else ""
        rate = "" if self.factor == 1 else f", learning rate x {self.factor:g}"
        return (
            f"after step {self.start:,}: {' '.join(self.scope.trainable)} "
            f"({trained:,} of {total:,} parameters){rate}{norms}"
        )


def of(settings: plan.TrainSettings, length: plan.Plan) -> tuple[Phase, ...]:
    """Those of a run: its stages, and the training of everything that is left after them."""
    starts = length.starts([stage.epochs for stage in settings.stages])
    phases = [
        Phase(
            start=start,
            scope=Scope(
                trainable=stage.trainable,
                batch_norm=max(stage.batch_norm, settings.batch_norm, key=lambda x: x == "frozen"),
            ),
            factor=stage.factor,
        )
        for start, stage in zip(starts, settings.stages, strict=False)
    ]
    rest = Phase(start=starts[-1], scope=Scope(batch_norm=settings.batch_norm), factor=1.0)
    ends = [*starts[1:], length.steps]
    return tuple(x for x, end in zip([*phases, rest], ends, strict=True) if x.start < end)


def index_at(phases: Sequence[Phase], step: int) -> int:
    """Which phase the step after `step` belongs to."""
    return max(index for index, phase in enumerate(phases) if phase.start <= step)


class Phased:
    """The step of each phase, by the number of the step; each is compiled when a run reaches it.

    A phase but the first begins with a fresh optimiser, see `optim.restarted`. That depends on
    the number of the step alone, so a run that goes on does as one that was never cut short.

    Args:
        phases: of the run.
        programs: per device, of each.
        init: of the optimiser, the same for all.
        spread: lays them out.
    """

    def __init__(
        self,
        phases: Sequence[Phase],
        programs: Sequence[steps.TrainStep],
        init: Callable[[Any], Any],
        spread: parallel.Spread,
    ):
        self._phases = phases
        self._compiled = [spread.compile(program) for program in programs]
        self._init = jax.jit(init, out_shardings=spread.replicated)

    def __call__(self, number: int) -> steps.TrainStep:
        """The program of step `number`; they count from 1."""
        index = index_at(self._phases, number - 1)
        compiled = self._compiled[index]
        if not index or self._phases[index].start != number - 1:
            return compiled

        def begin(state: TrainState, batch: steps.Batch) -> tuple[TrainState, steps.Metrics]:
            opt_state = optim.restarted(self._init(state.params), state.opt_state)
            return compiled(dataclasses.replace(state, opt_state=opt_state), batch)

        return begin
