"""A trained run, ready to be applied to pictures."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxall import models
from jaxall.data import pipeline
from jaxall.evaluation.predictions import Predictions
from jaxall.runs import workdir
from jaxall.training import checkpoints, infer
from jaxall.training import views as views_lib

BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """Weights of one checkpoint and all that they need.

    Attributes:
        run: the run they come from.
        step: of the checkpoint.
        variables: {"params", "batch_stats"}.
        predictor: the compiled network.
        views: what it sees of a picture, see `training.views`.
        weights: which of the checkpoint's, see `checkpoints.load_variables`.
    """

    run: workdir.Run
    step: int
    variables: Any
    predictor: infer.Predictor
    views: str = views_lib.NONE
    weights: str = checkpoints.WEIGHTS[0]

    def predict(
        self,
        source: pipeline.Source,
        names: tuple[str, ...],
        progress: Callable[[int], None] = lambda done: None,
        subjects: tuple[str, ...] = (),
    ) -> Predictions:
        """Probabilities for every picture of a source, in its order; () for unknown subjects."""
        return predict(
            self.predictor,
            self.variables,
            source,
            names=names,
            subjects=subjects,
            class_names=self.run.class_names,
            settings=self.run.config.loader,
            progress=progress,
        )


def load(
    run: workdir.Run,
    which: str,
    views: str = views_lib.NONE,
    weights: str = checkpoints.WEIGHTS[0],
) -> Trained:
    """Restores the checkpoint "best", "latest" or of a step.

    Raises:
        UserError: there is no such checkpoint, or it doesn't fit the model, or has no averaged
            weights; or no such views.
    """
    step = checkpoints.find(run.workdir, which)
    settings = run.config.model
    module = models.build(models.find(settings.name), settings, len(run.class_names))
    size = run.preprocessing.image_size
    abstract = jax.eval_shape(
        lambda key, image: module.init(key, image, train=False),
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, size, size, 3), np.float32),
    )
    return Trained(
        run=run,
        step=step,
        variables=checkpoints.load_variables(run.workdir, step, dict(abstract), weights),
        predictor=infer.Predictor(module.apply, run.preprocessing.normalise, views=views),
        views=views,
        weights=weights,
    )


def predict(
    predictor: infer.Predictor,
    variables: Any,
    source: pipeline.Source,
    *,
    names: tuple[str, ...],
    class_names: tuple[str, ...],
    settings: pipeline.LoaderSettings,
    subjects: tuple[str, ...] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> Predictions:
    """Probabilities for every picture of a source: validation, evaluation and prediction alike.

    `names` and `subjects` are in the source's order; () where no subject is known.
    """
    size = infer.batch_size(min(BATCH_SIZE, len(source)))
    with pipeline.eval_batches(source, batch_size=size, settings=settings) as batches:
        inferred = predictor(variables, batches, progress)
    return Predictions(
        names=tuple(names[index] for index in inferred.index),
        subjects=tuple(subjects[index] for index in inferred.index) if subjects else (),
        labels=inferred.labels,
        probabilities=inferred.probabilities,
        class_names=class_names,
    )
