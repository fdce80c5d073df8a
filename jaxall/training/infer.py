"""Probabilities for pictures: the one function that training, evaluation and prediction share."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxall.errors import UserError
from jaxall.training import parallel, state, steps
from jaxall.training import views as views_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inferred:
    """Rows in the order of the batches, padding removed.

    Attributes:
        index: int64 [N], each picture's place in its source.
        labels: int64 [N], -1 where unknown.
        probabilities: float64 [N,K].
    """

    index: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray


def softmax(logits: np.ndarray) -> np.ndarray:
    """[...,K] -> probabilities [...,K] float64; done on the host, in double precision."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


class Predictor:
    """A compiled network on this host's devices; one compilation for all batches of one size.

    With `views` of `training.views` other than "none" it sees each view of a picture, and the
    probabilities are the mean of all.

    Raises:
        UserError: there are no such views.
    """

    def __init__(
        self,
        apply: Callable[..., Any],
        normalise: Callable[[Any], Any],
        devices: parallel.Devices = None,
        views: str = views_lib.NONE,
    ):
        mesh = parallel.local_mesh(devices)
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._sharded = NamedSharding(mesh, PartitionSpec(steps.AXIS))
        step = steps.make_predict_step(apply, normalise)
        if views != views_lib.NONE:
            step = views_lib.make_predict_step(apply, normalise, views_lib.find(views))
        self._step = jax.jit(step)

    def __call__(
        self,
        variables: Any,
        batches: Iterable[steps.Batch],
        progress: Callable[[int], None] = lambda done: None,
    ) -> Inferred:
        """Runs every batch; its size must be a multiple of this host's device count.

        Args:
            variables: {"params": ..., "batch_stats": ...}, on any devices.
            batches: {"image", "label", "index", "mask"}; rows whose mask is 0 are dropped.
            progress: told the number of pictures done after each batch.

        Raises:
            UserError: an output is NaN or infinite.
        """
        variables = jax.device_put(jax.tree.map(state.local, variables), self._replicated)
        rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        done = 0
        for batch in batches:
            images = jax.device_put(batch["image"], self._sharded)
            logits = np.asarray(self._step(variables, images))
            real = np.asarray(batch["mask"]) > 0
            rows.append((batch["index"][real], batch["label"][real], logits[real]))
            done += int(real.sum())
            progress(done)
        index, labels, logits = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        logits = logits.reshape(len(logits), -1, logits.shape[-1])  # pictures, views, classes
        bad = np.count_nonzero(~np.isfinite(logits).all((1, 2)))
        if bad:
            raise UserError(
                f"the network's output is not finite for {bad} of {len(logits)} "
                "pictures: its weights or its precision don't fit"
            )
        return Inferred(
            index=index.astype(np.int64),
            labels=labels.astype(np.int64),
            probabilities=softmax(logits).mean(1),
        )


def batch_size(wanted: int) -> int:
    """The smallest multiple of this host's device count that is at least `wanted`."""
    count = jax.local_device_count()
    return -(-wanted // count) * count
