"""What a config's network learns by: the modules, a fresh state, and the steps."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn
from rich import console as rich_console

from jaxall import config as config_lib
from jaxall import models, runtime
from jaxall.data import balance, pipeline
from jaxall.data.preprocessing import Preprocessing
from jaxall.reporting import progress
from jaxall.training import groups, losses, optim, parallel, patterns, phases, plan, state, steps
from jaxall.weights import initial


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learner:
    """A network that can be trained.

    Attributes:
        module: the classifier, as it is used outside of training.
        create: a fresh state.
        phases: of the run, in their order; there is at least one.
        programs: the step of each, per device; to be spread over them.
        optimizer: that of the first; the others' differ in their rates only.
        rate: learning rate as a function of the step, before what a plateau leaves of it.
    """

    module: nn.Module
    create: Callable[[], state.TrainState]
    phases: tuple[phases.Phase, ...]
    programs: tuple[steps.TrainStep, ...]
    optimizer: optax.GradientTransformation
    rate: Callable[[int], Any]

    def steps(self, spread: parallel.Spread) -> phases.Phased:
        """The program of each step of the run."""
        return phases.Phased(self.phases, self.programs, self.optimizer.init, spread)

    def widest(self) -> steps.TrainStep:
        """The step of the phase that trains most."""
        params = jax.eval_shape(self.create).params

        def trained(index: int) -> int:
            picked = self.phases[index].scope.pick(params)
            return sum(x.size for x in jax.tree.leaves(picked))

        return self.programs[max(range(len(self.phases)), key=trained)]

    def compiles(self, first: int, until: int, start: int) -> bool:
        """Whether a run that goes on from `start` compiles a program in the steps between two."""
        return first == start or any(first <= phase.start < until for phase in self.phases)

    def describe(self) -> list[str]:
        """A line for each phase, if there is more to say than that everything is trained."""
        if self.phases == (phases.Phase(start=0, scope=phases.Scope(), factor=1.0),):
            return []
        params = jax.eval_shape(self.create).params
        return [phase.describe(params) for phase in self.phases]


def of(
    config: config_lib.Config,
    preprocessing: Preprocessing,
    classes: int,
    length: plan.Plan,
    class_counts: Sequence[int] | np.ndarray | None = None,
    rate: optax.Schedule | None = None,
) -> Learner:
    """The network, its optimiser and its steps, as the config says.

    Args:
        config: validated.
        preprocessing: of every picture.
        classes: number of them.
        length: of the run.
        class_counts: pictures of each class to learn from, which the loss may weigh them by; None
            takes all classes to be of one size.
        rate: learning rate as a function of the step; the config's if None.

    Raises:
        UserError: an impossible setting, a pattern that matches no parameter among them.
    """
    build = functools.partial(models.build, models.find(config.model.name), config.model, classes)
    module = build()
    synced = build(axis_name=steps.AXIS) if config.train.sync_batch_norm else module
    rate = rate or optim.learning_rate(config.optim, length)
    found = phases.of(config.train, length)
    settings = config.optim
    if (decay := settings.layer_decay) < 1:
        layers = groups.by_layer(state.parts(module, preprocessing.image_size), decay)
        settings = dataclasses.replace(settings, groups=(*layers, *settings.groups))
    optimizers = [
        optim.optimizer(settings, length, factor=phase.factor, rate=rate) for phase in found
    ]
    create = functools.partial(
        state.create,
        module,
        optimizers[0],
        image_size=preprocessing.image_size,
        classes=classes,
        seed=config.seed,
        is_averaged=config.train.ema > 0,
    )
    if named := _patterns(config):
        patterns.check(named, jax.eval_shape(create).params)
    make = functools.partial(
        steps.make_train_step,
        synced.apply,
        normalise=preprocessing.normalise,
        seed=config.seed,
        accumulate=config.train.accumulate,
        loss=losses.make(config.loss, (1,) * classes if class_counts is None else class_counts),
        mixed=config.mixing,
        ema=config.train.ema,
    )
    return Learner(
        module=module,
        create=create,
        phases=found,
        programs=tuple(
            make(optimizer=optimizer, scope=phase.scope)
            for optimizer, phase in zip(optimizers, found, strict=True)
        ),
        optimizer=optimizers[0],
        rate=lambda step: found[phases.index_at(found, step)].factor * rate(step),
    )


def batches(
    config: config_lib.Config, source: pipeline.Source, draws: balance.Draws, start: int = 0
) -> pipeline.Batches:
    """This host's shares of a run's batches.

    Args:
        config: of the run.
        source: the training side's pictures, wherever they are kept.
        draws: how often each is drawn.
        start: the step that the run goes on from.
    """
    batch_size, seed = config.train.batch_size, config.seed
    return pipeline.train_batches(
        source,
        transforms=config.augmentation,
        batch_size=batch_size,
        seed=seed,
        order=draws.order(batch_size=batch_size, seed=seed),
        start_step=start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        settings=config.loader,
    )


def initial_weights(config: config_lib.Config, console: rich_console.Console) -> Any:
    """What the config's network starts from, fetched if need be; None for random weights.

    Raises:
        UserError: the weights can't be had, or fit another network.
    """
    spec = models.find(config.model.name)
    official = models.official(spec, config.model.init)
    with progress.download_bar(console, official.file if official else "") as report:
        return initial.load(config.model.init, spec, runtime.cache_dir(), report)


def _patterns(config: config_lib.Config) -> dict[str, str]:
    """The patterns over parameters' paths, by the names of their settings."""
    named = {f"optim.groups[{i}].pattern": x.pattern for i, x in enumerate(config.optim.groups)}
    for i, stage in enumerate(config.train.stages):
        for j, pattern in enumerate(stage.trainable):
            named[f"train.stages[{i}].trainable[{j}]"] = pattern
    return named
