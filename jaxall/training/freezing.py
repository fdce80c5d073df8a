"""What of a network is trained, and what keeps its bits: for a whole run, or for a stage of it.

Stages of fine-tuning, from the head down: Howard & Ruder, 2018, https://arxiv.org/abs/1801.06146
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import optax
from flax import traverse_util

from jaxall.training import patterns

BATCH_NORMS = ("train", "frozen")
# Collection of the statistics that norms hold to; models.layers calls it the same.
HELD = "held_batch_stats"
EVERYTHING = (".*",)
BACKBONE = ("backbone/",)


@dataclasses.dataclass(kw_only=True)
class Stage:
    """A part of a run that trains a part of the network; its optimiser starts afresh.

    Attributes:
        epochs: how long.
        trainable: patterns of the parameters that are trained, such as "head/.*"; all others, and
            the statistics of norms none of whose parameters are, keep their bits.
        factor: multiplies the learning rate.
        batch_norm: "train", or "frozen": the backbone's norms that are trained use their running
            statistics too, and keep them. Where train.batch_norm is "frozen", so is this.
    """

    epochs: float = 1.0
    trainable: tuple[str, ...] = ("head/.*",)
    factor: float = 1.0
    batch_norm: str = "train"

    def problems(self, name: str) -> Iterator[str]:
        """A line for each impossible value; `name` is the stage's."""
        for field in ("epochs", "factor"):
            if not (came := getattr(self, field)) > 0:
                yield f"{name}.{field} is above 0; got {came:g}"
        if self.batch_norm not in BATCH_NORMS:
            there_are = ", ".join(BATCH_NORMS)
            yield f"{name}.batch_norm is one of {there_are}; got {self.batch_norm!r}"
        if not self.trainable:
            yield f"{name}.trainable names parameters; got none"
        for pattern in self.trainable:
            yield from patterns.problems(f"{name}.trainable", pattern)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scope:
    """What is trained; paths are known to a trace, so a step is a program of its scope alone.

    A picked tree has None in place of what is not trained: gradients, updates and moments of that
    are never computed.

    Attributes:
        trainable: patterns of the parameters that are.
        batch_norm: "train", or "frozen": the backbone's statistics are kept. A head's begin at
            nothing that is worth keeping, and follow the batch wherever it is trained.
    """

    trainable: tuple[str, ...] = EVERYTHING
    batch_norm: str = "train"

    def is_trained(self, path: str) -> bool:
        """Whether the parameter at a path is."""
        return any(patterns.matches(pattern, path) for pattern in self.trainable)

    def pick(self, params: Any) -> Any:
        """The parameters that are trained."""
        return jax.tree_util.tree_map_with_path(
            lambda keys, x: x if self.is_trained(patterns.path_of(keys)) else None, params
        )

    def split(self, batch_stats: Any, params: Any) -> tuple[Any, Any]:
        """The statistics that follow the batch, and those that are held."""
        paths = patterns.paths(params)
        modules = {path.rpartition("/")[0] for path in paths if self.is_trained(path)}
        flat = traverse_util.flatten_dict(batch_stats, sep="/")
        kept = BACKBONE if self.batch_norm == "frozen" else ()
        held = {
            path: x
            for path, x in flat.items()
            if path.startswith(kept) or path.rpartition("/")[0] not in modules
        }
        moving = {path: x for path, x in flat.items() if path not in held}
        unflatten = traverse_util.unflatten_dict
        return unflatten(moving, sep="/"), unflatten(held, sep="/")

    def update(
        self,
        optimizer: optax.GradientTransformation,
        gradients: Any,
        opt_state: Any,
        params: Any,
    ) -> tuple[Any, Any]:
        """Picked updates, by picked gradients, and the optimiser's state after them."""
        structure = jax.tree.structure(params)

        def is_of_params(tree: Any) -> bool:
            return jax.tree.structure(tree) == structure

        # Moments have the tree of the parameters; counts and the like belong to no parameter.
        inner = jax.tree.map(
            lambda x: self.pick(x) if is_of_params(x) else x, opt_state, is_leaf=is_of_params
        )
        changes, inner = optimizer.update(gradients, inner, self.pick(params))
        opt_state = jax.tree.map(
            lambda old, new: fill(new, old) if is_of_params(old) else new,
            opt_state,
            inner,
            is_leaf=is_of_params,
        )
        return changes, opt_state

    def apply(self, changes: Any, params: Any) -> Any:
        """The parameters after picked updates."""
        return fill(optax.apply_updates(self.pick(params), changes), params)


def fill(picked: Any, whole: Any) -> Any:
    """A picked tree with what it lacks from the whole one."""
    return jax.tree.map(
        lambda new, old: old if new is None else new, picked, whole, is_leaf=lambda x: x is None
    )


def join(moving: Any, held: Any) -> Any:
    """The inverse of `Scope.split`."""
    parts = (traverse_util.flatten_dict(tree, sep="/") for tree in (moving, held))
    flat = {path: x for part in parts for path, x in part.items()}
    return traverse_util.unflatten_dict(flat, sep="/")
