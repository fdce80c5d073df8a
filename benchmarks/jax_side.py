"""jaxall's side of the benchmarks."""

import dataclasses
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.work import CLASSES, Side, Work
from jaxall import config, models
from jaxall.runs import assembly, learners
from jaxall.training import parallel, plan, state, steps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ours(Side):
    """As compiled.

    Attributes:
        train_bytes: what XLA counts as read and written in a training step.
        infer_bytes: and in an inference.
        flops: products and sums of an inference as the network is written; training has thrice.
    """

    train_bytes: float
    infer_bytes: float
    flops: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Network:
    """A jaxall network, ready to be compiled.

    Attributes:
        spread: over the devices.
        states: the latest state, alone in a list.
        batch: on the devices.
        step: not compiled yet.
        predict: not compiled yet.
    """

    spread: parallel.Spread
    states: list[state.TrainState]
    batch: dict[str, Any]
    step: Any
    predict: Any


def _network(work: Work) -> _Network:
    spec = models.find(work.name)
    made = config.Config(
        name="benchmark",
        preprocessing=config.PreprocessingSettings(image_size=work.size),
        model=config.ModelSettings(
            name=work.name,
            init="none",
            head="linear",
            dropout=spec.dropout,
            precision=work.precision,
        ),
    )
    preprocessing = assembly.preprocessing_of(made)
    length = plan.Plan(examples=work.batch, batch_size=work.batch, epochs=100)
    learner = learners.of(made, preprocessing, CLASSES, length)
    spread = parallel.Spread("pmap")
    predict = steps.make_predict_step(learner.module.apply, preprocessing.normalise)
    return _Network(
        spread=spread,
        states=[spread.start(learner.create, None)],
        batch=spread.batch(work.pictures()),
        step=spread.compile(learner.widest()),
        predict=jax.jit(predict),
    )


def _training(network: _Network) -> tuple[Callable[[], Any], Any]:
    """A step, and the program that it calls."""
    step = network.step.lower(network.states[0], network.batch).compile()

    def train() -> Any:
        network.states[0], metrics = step(network.states[0], network.batch)
        return jax.block_until_ready(metrics)

    return train, step


def ours_training(work: Work) -> Callable[[], Any]:
    """Compiles a step of jaxall and nothing else."""
    return _training(_network(work))[0]


def ours(work: Work) -> Ours:
    """Compiles both programs of jaxall."""
    network = _network(work)
    images = jax.device_put(work.pictures()["image"])
    train, step = _training(network)
    lowered = network.predict.lower(_variables(network), images)
    predict = lowered.compile()
    return Ours(
        train=train,
        infer=lambda: jax.block_until_ready(predict(_variables(network), images)),
        train_bytes=step.cost_analysis()["bytes accessed"],
        infer_bytes=predict.cost_analysis()["bytes accessed"],
        flops=lowered.cost_analysis()["flops"],
    )


def _variables(network: _Network) -> dict[str, Any]:
    latest = network.states[0]
    return {"params": latest.params, "batch_stats": latest.batch_stats}
