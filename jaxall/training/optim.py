"""Optimisers as torch defines them, in optax's terms.

Adam: Kingma & Ba, 2015, https://arxiv.org/abs/1412.6980
AdamW: Loshchilov & Hutter, 2019, https://arxiv.org/abs/1711.05101
One cycle: Smith & Topin, 2018, https://arxiv.org/abs/1708.07120
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import optax

from jaxall import errors
from jaxall.training import groups as groups_lib
from jaxall.training import plateau
from jaxall.training.groups import Group
from jaxall.training.plan import Plan

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("constant", "cosine", "step", "one_cycle", "plateau")
# Of one cycle, torch's: the rate begins at the peak divided by the first, and ends at what it began
# with divided by the second.
CYCLE_FROM, CYCLE_TO = 25.0, 1e4


@dataclasses.dataclass(kw_only=True)
class OptimSettings:
    """How gradients become updates; every duration is in epochs.

    Attributes:
        name: "adam" adds weight_decay * parameter to the gradient (torch.optim.Adam's coupled
            L2); "adamw" decays apart from it (torch.optim.AdamW).
        learning_rate: at the end of the warm-up.
        weight_decay: 0 for none.
        decay_norms_and_biases: whether scales and biases decay too, as torch's optimisers do.
        clip_norm: largest global norm of the gradient, before weight decay; 0 for no limit.
        schedule: "constant", "cosine" (to 0 at the end), "step", "one_cycle" (up to the learning
            rate and down again over the whole run) or "plateau" (constant until train.best_by no
            longer rises).
        warmup_epochs: linear from 0.
        step_epochs: when the "step" schedule multiplies the rate by `step_factor`.
        step_factor: "plateau" multiplies by it too.
        cycle_peak: share of the run after which "one_cycle" is at its peak.
        plateau_patience: epochs in a row without a better score that "plateau" bears; the next
            one steps.
        layer_decay: each part of the backbone (a stage, a dense block) has this times the rate of
            the one above it; 1 for one rate for all.
        groups: parameters with learning rates of their own, as multiples of the others'; of several
            that a parameter is of the last counts, and goes before `layer_decay`.
    """

    name: str = "adam"
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    decay_norms_and_biases: bool = True
    clip_norm: float = 0.0
    schedule: str = "constant"
    warmup_epochs: float = 0.0
    step_epochs: tuple[float, ...] = ()
    step_factor: float = 0.1
    cycle_peak: float = 0.3
    plateau_patience: int = 5
    layer_decay: float = 1.0
    groups: tuple[Group, ...] = ()

    def validate(self) -> None:
        """Raises UserError naming every impossible field, what it may be, and what came."""
        errors.refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        for name, there_are in (("name", OPTIMIZERS), ("schedule", SCHEDULES)):
            if (came := getattr(self, name)) not in there_are:
                yield f"optim.{name} is one of {', '.join(there_are)}; got {came!r}"
        for name in ("learning_rate", "step_factor"):
            if not 0 < (came := getattr(self, name)) < math.inf:
                yield f"optim.{name} is above 0 and finite; got {came}"
        for name in ("weight_decay", "clip_norm", "warmup_epochs"):
            if not 0 <= (came := getattr(self, name)) < math.inf:
                yield f"optim.{name} is at least 0 and finite; got {came}"
        steps = self.step_epochs
        if (self.schedule == "step") != bool(steps):
            yield (
                "optim.step_epochs goes with optim.schedule='step'; got "
                f"schedule {self.schedule!r} with step_epochs {steps}"
            )
        if any(b <= a for a, b in itertools.pairwise((self.warmup_epochs, *steps))):
            yield (
                "optim.step_epochs ascend from the end of the warm-up; got "
                f"{steps} with warmup_epochs {self.warmup_epochs}"
            )
        if not 0 < self.layer_decay <= 1:
            yield f"optim.layer_decay is above 0 and at most 1; got {self.layer_decay:g}"
        if not 0 < self.cycle_peak < 1:
            yield f"optim.cycle_peak is above 0 and below 1; got {self.cycle_peak:g}"
        if self.schedule == "one_cycle" and self.warmup_epochs:
            yield (
                "optim.schedule='one_cycle' warms up by itself: optim.warmup_epochs is 0; got "
                f"{self.warmup_epochs:g}"
            )
        if self.plateau_patience < max(0.0, self.warmup_epochs * (self.schedule == "plateau")):
            yield (
                "optim.plateau_patience is at least 0 and outlasts optim.warmup_epochs; got "
                f"{self.plateau_patience} and {self.warmup_epochs:g}"
            )
        for index, group in enumerate(self.groups):
            yield from group.problems(f"optim.groups[{index}]")


def learning_rate(settings: OptimSettings, plan: Plan) -> optax.Schedule:
    """The rate as a function of the step, before what a plateau or a group makes of it."""
    peak = settings.learning_rate
    warmup = plan.step_at(settings.warmup_epochs)
    if settings.schedule == "one_cycle":
        return one_cycle(peak, plan.steps, settings.cycle_peak)
    if settings.schedule == "cosine":
        main = optax.cosine_decay_schedule(peak, max(plan.steps - warmup, 1))
    elif settings.schedule == "step":
        # `join_schedules` counts from the end of the warm-up.
        drops: dict[int, float] = {}
        for epoch in settings.step_epochs:  # two may fall on one step
            step = plan.step_at(epoch) - warmup
            drops[step] = drops.get(step, 1.0) * settings.step_factor
        main = optax.piecewise_constant_schedule(peak, drops)
    else:
        main = optax.constant_schedule(peak)
    if not warmup:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup])


def one_cycle(peak: float, steps: int, share: float) -> optax.Schedule:
    """Half a cosine up to the peak and half a one down, over all steps.

    As torch.optim.lr_scheduler.OneCycleLR with anneal_strategy="cos" and cycle_momentum=False.

    Args:
        peak: the highest rate.
        steps: of the whole run.
        share: of the run, on the way up.
    """
    start = peak / CYCLE_FROM
    top, last = share * steps - 1, steps - 1

    def between(first: float, second: float, way: jax.Array) -> jax.Array:
        return second + (first - second) / 2 * (1 + jnp.cos(jnp.pi * jnp.clip(way, 0, 1)))

    def rate(step: Any) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        up = between(start, peak, step / (top or 1))
        down = between(peak, start / CYCLE_TO, (step - top) / (last - top))
        return jnp.where(step <= top, up, down)

    return rate


def optimizer(
    settings: OptimSettings,
    plan: Plan,
    *,
    factor: float = 1.0,
    rate: optax.Schedule | None = None,
) -> optax.GradientTransformation:
    """Clipping first, then the optimiser with its decay: the order of a torch training loop.

    Args:
        settings: validated here.
        plan: the run's length.
        factor: multiplies the rate; the state's tree is the same for all.
        rate: as a function of the step; the settings' if None.

    Raises:
        UserError: an impossible setting.
    """
    settings.validate()
    rate = _times(factor, rate or learning_rate(settings, plan))
    mask = None if settings.decay_norms_and_biases else _is_kernel
    parts = [_clip(settings.clip_norm)] if settings.clip_norm else []
    if settings.name == "adamw":
        parts.append(optax.adamw(rate, weight_decay=settings.weight_decay, mask=mask))
    else:
        parts.append(optax.add_decayed_weights(settings.weight_decay, mask))
        parts.append(optax.adam(rate))
    if settings.groups:
        parts.append(groups_lib.scale_updates(settings.groups))
    if settings.schedule == "plateau":
        parts.append(plateau.scale_updates())
    return optax.chain(*parts)


def _times(factor: float, rate: optax.Schedule) -> optax.Schedule:
    return rate if factor == 1 else lambda step: factor * rate(step)


def restarted(fresh: Any, opt_state: Any) -> Any:
    """The state with Adam's moments and their count from a fresh one; schedules go on.

    What was frozen has no moments yet: under a count that has grown, Adam would take them for
    settled, and its first steps would be up to six times too long.
    """
    return jax.tree.map(
        lambda new, old: new if isinstance(new, optax.ScaleByAdamState) else old,
        fresh,
        opt_state,
        is_leaf=lambda x: isinstance(x, optax.ScaleByAdamState),
    )


def global_norm(gradients: Any) -> jax.Array:
    """Over all arrays together, taken of one vector.

    Array by array, each would have XLA's CPU backend compile sums of its own: a tenth of the time
    that a step of DenseNet-201 takes to compile. The vector costs a copy of the gradient.
    """
    return jnp.linalg.norm(jax.flatten_util.ravel_pytree(gradients)[0])


def _clip(largest: float) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm`, with the norm that the metrics need as well."""

    def update(gradients: Any, _params: Any) -> Any:
        norm = global_norm(gradients)
        factor = jnp.where(norm < largest, 1.0, largest / norm)
        return jax.tree.map(lambda x: x * factor.astype(x.dtype), gradients)

    return optax.stateless(update)


def _is_kernel(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
