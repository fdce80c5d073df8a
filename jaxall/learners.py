"""What a config's network learns by: the modules, a fresh state, and the step."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from flax import linen as nn

from jaxall import config as config_lib
from jaxall import models
from jaxall.data.preprocessing import Preprocessing
from jaxall.training import optim, plan, state, steps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learner:
    """A network that can be trained.

    Attributes:
        module: the classifier, as it is used outside of training.
        create: a fresh state.
        step: per device; to be spread over them.
    """

    module: nn.Module
    create: Callable[[], state.TrainState]
    step: steps.TrainStep


def of(
    config: config_lib.Config, preprocessing: Preprocessing, classes: int, length: plan.Plan
) -> Learner:
    """The network, its optimiser and its step, as the config says.

    Raises:
        UserError: an impossible setting.
    """
    build = functools.partial(models.build, models.find(config.model.name), config.model, classes)
    module = build()
    synced = build(axis_name=steps.AXIS) if config.train.sync_batch_norm else module
    optimizer = optim.optimizer(config.optim, length)
    create = functools.partial(
        state.create,
        module,
        optimizer,
        image_size=preprocessing.image_size,
        classes=classes,
        seed=config.seed,
    )
    step = steps.make_train_step(
        synced.apply,
        optimizer,
        preprocessing.normalise,
        seed=config.seed,
        accumulate=config.train.accumulate,
    )
    return Learner(module=module, create=create, step=step)
