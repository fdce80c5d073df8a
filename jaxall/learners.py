"""What a config's network learns by: the modules, a fresh state, and the step."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
from flax import linen as nn

from jaxall import config as config_lib
from jaxall import models
from jaxall.data.preprocessing import Preprocessing
from jaxall.training import losses, optim, plan, state, steps


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
    config: config_lib.Config,
    preprocessing: Preprocessing,
    classes: int,
    length: plan.Plan,
    class_counts: Sequence[int] | np.ndarray | None = None,
) -> Learner:
    """The network, its optimiser and its step, as the config says.

    Args:
        config: validated.
        preprocessing: of every picture.
        classes: number of them.
        length: of the run.
        class_counts: pictures of each class to learn from, which the loss may weigh them by; None
            takes all classes to be of one size.

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
        loss=losses.make(config.loss, (1,) * classes if class_counts is None else class_counts),
        mixed=config.mixing,
    )
    return Learner(module=module, create=create, step=step)
