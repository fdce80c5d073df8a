"""Saving and restoring a run's state with Orbax: the latest two, and the best by validation."""

import contextlib
import json
import pathlib
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from jaxall.errors import UserError
from jaxall.training import parallel
from jaxall.training import state as state_lib
from jaxall.training.state import TrainState

FOLDER = "checkpoints"
LATEST = 2
WEIGHTS = ("judged", "ema", "raw")
# What Orbax raises for files that are cut, emptied, gone, or another tree's, and for a full disk.
_UNREADABLE = (LookupError, OSError, TypeError, ValueError)


def _rank(metrics: Mapping[str, float]) -> Any:
    """Higher is better: the score, then the smaller loss; a score that is NaN is the worst."""
    score, loss = (float(metrics[name]) for name in ("score", "loss"))
    return (-np.inf if np.isnan(score) else score, -np.inf if np.isnan(loss) else -loss)


class Checkpoints:
    """A run's checkpoints; writing happens in the background and is atomic.

    Raises:
        UserError: the metrics of a checkpoint can't be read; says what to delete.
    """

    def __init__(self, workdir: pathlib.Path, spread: parallel.Spread):
        policies = ocp.training.preservation_policies
        self._spread = spread
        self._checkpointer = _open(
            workdir / FOLDER,
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
        return max(self._metrics(), default=None)

    @property
    def best(self) -> int | None:
        """Step of the checkpoint with the highest validation score; the later of equals."""
        return best_of(self._metrics())

    def _metrics(self) -> dict[int, Any]:
        return {info.step: info.metrics for info in self._checkpointer.checkpoints}

    def save(self, state: TrainState, step: int, metrics: Mapping[str, float] | None) -> None:
        """Starts saving; `metrics` {"score", "loss"} only where the state was validated.

        Raises:
            UserError: this checkpoint, or the one before, can't be written.
        """
        if step == self.latest:
            return
        tree = self._spread.to_global(state)
        values: dict[str, Any] | None = dict(metrics) if metrics else None
        with self._writing():
            # Forced, for it is the loop that decides when to save.
            self._checkpointer.save_async(step, tree, force=True, metrics=values)

    def restore(self, abstract: TrainState) -> TrainState:
        """The newest state, placed where the step wants it.

        Raises:
            UserError: it can't be read; says what to delete to go on from the one before. Nothing
                is passed over unasked: the same error meets a state of another version's shape.
        """
        target = _at(abstract, self._spread.everywhere)
        *earlier, step = sorted(self._metrics())
        try:
            return self._spread.from_global(self._checkpointer.load(step, target))
        except _UNREADABLE as error:
            path = self._checkpointer.directory / str(step)
            then = f"goes on from step {earlier[-1]}" if earlier else "starts anew"
            raise UserError(
                f"checkpoint {path} can't be read ({_reason(error)}); if its files are damaged, "
                f"delete that folder, and the run {then}"
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Waits for what is being written.

        Raises:
            UserError: it can't be.
        """
        with self._writing():
            self._checkpointer.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except _UNREADABLE as error:
            raise UserError(
                f"a checkpoint can't be written to {self._checkpointer.directory} "
                f"({_reason(error)}); those from before are kept"
            ) from error


def best_of(metrics: Mapping[int, Any]) -> int | None:
    """Step with the highest score; checkpoints that were not validated don't count."""
    scored = [step for step in metrics if metrics[step]]
    try:
        return max(scored, key=lambda step: (*_rank(metrics[step]), step), default=None)
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"the metrics of the checkpoints {scored} are damaged: {error}") from error


def find(workdir: pathlib.Path, which: str) -> int:
    """The step of the checkpoint called "best", "latest", or by its number.

    Raises:
        UserError: there is none; the steps that exist are given.
    """
    folder = workdir / FOLDER
    if not folder.is_dir():
        raise UserError(f"no checkpoints in {workdir}: wanted the folder of a run that has trained")
    with _open(folder) as checkpointer:
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


def check_weights(weights: str) -> None:
    """Raises UserError for weights that `load_variables` does not know."""
    if weights not in WEIGHTS:
        raise UserError(f"--weights is one of {', '.join(WEIGHTS)}; got {weights!r}")


def load_variables(
    workdir: pathlib.Path, step: int, abstract: Any, weights: str = WEIGHTS[0]
) -> Any:
    """Only what inference needs: {"params": ..., "batch_stats": ...} on one device.

    Args:
        workdir: of the run.
        step: of the checkpoint.
        abstract: the variables' shapes and types.
        weights: "ema" for the averages, "raw" for those of the last step, "judged" for those that
            were validated: the averages where the run kept some.

    Raises:
        UserError: the checkpoint can't be read, or holds other names or shapes than `abstract`;
            its details name each; or has no averages.
    """
    path = (workdir / FOLDER / str(step)).absolute()
    target = _at(abstract, jax.sharding.SingleDeviceSharding(jax.local_devices()[0]))
    options = ocp.options.PyTreeOptions
    partial = ocp.Context(pytree_options=options(loading=options.Loading(partial_load=True)))
    try:
        # A partial load hands back names that the checkpoint lacks as the request itself, and
        # passes over those that it has beyond the request: both are looked for beforehand.
        tree = ocp.metadata(str(path)).metadata
        if tree is None:
            raise UserError(f"checkpoint {path} can't be read: its list of arrays is damaged")
        is_averaged = "ema" in tree if weights == "judged" else weights == "ema"
        if is_averaged and "ema" not in tree:
            raise UserError(f"checkpoint {path} has no averaged weights: train.ema was 0")
        tree, target = (tree["ema"], {"ema": target}) if is_averaged else (tree, target)
        problems = state_lib.mismatches({name: tree[name] for name in abstract}, abstract)
        if not problems:
            with partial:
                found = ocp.load(str(path), target)
            return found["ema"] if is_averaged else found
    except UserError:
        raise
    except _UNREADABLE as error:
        raise UserError(f"checkpoint {path} can't be read ({_reason(error)})") from error
    raise UserError(
        f"checkpoint {path} is of another model: {len(problems)} arrays differ, "
        f"the first: {problems[0]}",
        problems,
    )


def _open(folder: pathlib.Path, **options: Any) -> ocp.training.Checkpointer:
    try:
        return ocp.training.Checkpointer(str(folder.absolute()), **options)
    except ValueError as error:  # it reads the metrics of every checkpoint
        damaged = [file.parent.parent for file in folder.glob("*/metrics/metrics") if _is_cut(file)]
        if not damaged:
            raise
        raise UserError(
            f"the metrics of checkpoint {damaged[0]} can't be read; delete that folder, and the "
            "run goes on from the one before"
        ) from error


def _is_cut(file: pathlib.Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except ValueError:
        return True
    return False


def _at(abstract: Any, sharding: jax.sharding.Sharding) -> Any:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), abstract
    )


def _reason(error: BaseException) -> str:
    """Orbax wraps the true error in one about its handlers."""
    return textwrap.shorten(str(error.__cause__ or error).splitlines()[0], 160)
