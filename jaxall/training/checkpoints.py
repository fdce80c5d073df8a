"""Saving and restoring a run's state with Orbax: the latest two, and the best by validation."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from jaxall.errors import UserError
from jaxall.training import parallel
from jaxall.training.state import TrainState

FOLDER = "checkpoints"
LATEST = 2


def _rank(metrics: Mapping[str, float]) -> tuple[float, float]:
    """Higher is better: the score, then the smaller loss; a score that is NaN is the worst."""
    score, loss = (float(metrics[name]) for name in ("score", "loss"))
    return (-np.inf if np.isnan(score) else score, -np.inf if np.isnan(loss) else -loss)


class Checkpoints:
    """A run's checkpoints; writing happens in the background and is atomic."""

    def __init__(self, workdir: pathlib.Path, spread: parallel.Spread):
        policies = ocp.training.preservation_policies
        self._spread = spread
        self._checkpointer = ocp.training.Checkpointer(
            str((workdir / FOLDER).absolute()),
            cleanup_tmp_directories=True,
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(LATEST),
                    policies.BestN(
                        get_metric_fn=_rank, n=1, keep_checkpoints_without_metrics=False
                    ),
                ]
            ),
        )

    @property
    def latest(self) -> int | None:
        """Step of the newest complete checkpoint."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    @property
    def best(self) -> int | None:
        """Step of the checkpoint with the highest validation score; the later of equals."""
        return best_of({info.step: info.metrics for info in self._checkpointer.checkpoints})

    def save(self, state: TrainState, step: int, metrics: Mapping[str, float] | None) -> None:
        """Starts saving; `metrics` {"score", "loss"} only where the state was validated."""
        if step == self.latest:
            return
        tree = self._spread.to_global(state)
        # Forced, for it is the loop that decides when to save.
        values = dict(metrics) if metrics else None
        self._checkpointer.save_async(step, tree, force=True, metrics=values)

    def restore(self, abstract: TrainState) -> TrainState:
        """The newest state, placed where the step wants it."""
        sharding = self._spread.replicated
        mesh = parallel.global_mesh()
        everywhere = jax.sharding.NamedSharding(mesh, sharding.spec)
        target = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), abstract
        )
        return self._spread.from_global(self._checkpointer.load(None, target))

    def close(self) -> None:
        """Waits for what is being written."""
        self._checkpointer.close()


def best_of(metrics: Mapping[int, Any]) -> int | None:
    """Step with the highest score; checkpoints that were not validated don't count."""
    scored = [step for step in metrics if metrics[step]]
    return max(scored, key=lambda step: (*_rank(metrics[step]), step), default=None)


def find(workdir: pathlib.Path, which: str) -> int:
    """The step of the checkpoint called "best", "latest", or by its number.

    Raises:
        UserError: there is none; the steps that exist are given.
    """
    folder = (workdir / FOLDER).absolute()
    if not folder.is_dir():
        raise UserError(f"no checkpoints in {workdir}: wanted the folder of a run that has trained")
    with ocp.training.Checkpointer(str(folder)) as checkpointer:
        metrics = {info.step: info.metrics for info in checkpointer.checkpoints}
    steps, best = sorted(metrics), best_of(metrics)
    if which == "best" and best is not None:
        return best
    if which in ("best", "latest") and steps:
        return steps[-1]
    if which.isdecimal() and int(which) in metrics:
        return int(which)
    raise UserError(
        f"no checkpoint {which!r} in {workdir}: wanted best, latest or a step of {steps}"
    )


def load_variables(workdir: pathlib.Path, step: int, abstract: Any) -> Any:
    """Only what inference needs: {"params": ..., "batch_stats": ...} on one device.

    Args:
        workdir: of the run.
        step: of the checkpoint.
        abstract: the variables' shapes and types.

    Raises:
        UserError: the checkpoint holds other names or shapes than `abstract`.
    """
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), abstract
    )
    options = ocp.options.PyTreeOptions
    context = ocp.Context(pytree_options=options(loading=options.Loading(partial_load=True)))
    path = (workdir / FOLDER / str(step)).absolute()
    try:
        with context:
            variables = ocp.load(str(path), target)
    except (ValueError, KeyError) as error:
        reason = error.__cause__ or error
        raise UserError(
            f"checkpoint {path} does not fit the model: {str(reason).splitlines()[0]}"
        ) from error
    # A name that the checkpoint lacks comes back as the request itself.
    missing = [
        jax.tree_util.keystr(name)
        for name, leaf in jax.tree_util.tree_leaves_with_path(variables)
        if not isinstance(leaf, jax.Array)
    ]
    if missing:
        raise UserError(
            f"checkpoint {path} lacks {len(missing)} arrays, the first {missing[0]}", missing
        )
    return variables
