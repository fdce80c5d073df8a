"""What a run consists of between two steps, and how it starts."""

import dataclasses
from typing import Any, Self

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxall.errors import UserError


@flax.struct.dataclass
class Tally:
    """Sums over the examples seen in the present epoch.

    Attributes:
        confusion: int32 [K,K], rows true, columns predicted.
        loss: sum of the examples' plain cross entropies, float32.
    """

    confusion: jax.Array
    loss: jax.Array


@flax.struct.dataclass
class TrainState:
    """Everything that a step reads and replaces; all of it is saved."""

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    tally: Tally

    @property
    def variables(self) -> dict[str, Any]:
        """What is validated: {"params", "batch_stats"}."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    def after(self, decay: float, **changes: Any) -> Self:
        """The state after a step with these new fields; `decay` is that of averages, if any."""
        del decay
        return dataclasses.replace(self, **changes)

    def starting_from(self, **collections: Any) -> Self:
        """The fresh state with these "params" and "batch_stats" instead of its own."""
        return dataclasses.replace(self, **collections)


@flax.struct.dataclass
class AveragedState(TrainState):
    """A state that keeps running averages of weights and statistics, which are what is validated.

    Apart from `TrainState`, so that checkpoints of runs without averages have no place for them.

    Attributes:
        ema: {"params", "batch_stats"}.
    """

    ema: Any

    @property
    def variables(self) -> dict[str, Any]:
        """The averages."""
        return self.ema

    def after(self, decay: float, **changes: Any) -> Self:
        """With averages that first follow closely: the decay is at most (1 + t) / (10 + t).

        What keeps its bits keeps them on the average.
        """
        share = 1 - jnp.minimum(decay, (1 + self.step) / (10 + self.step))
        new = super().after(decay, **changes)
        latest = {"params": new.params, "batch_stats": new.batch_stats}
        ema = jax.tree.map(lambda old, x: old + share * (x - old), self.ema, latest)
        return dataclasses.replace(new, ema=ema)

    def starting_from(self, **collections: Any) -> Self:
        """The averages start from there as well."""
        return dataclasses.replace(self, **collections, ema=jax.tree.map(jnp.copy, collections))


def empty_tally(classes: int) -> Tally:
    """Nothing seen yet."""
    return Tally(jnp.zeros((classes, classes), jnp.int32), jnp.zeros((), jnp.float32))


def create(
    module: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    image_size: int,
    classes: int,
    seed: int,
    is_averaged: bool = False,
) -> TrainState:
    """A fresh state with random weights; pure, so it can be traced under `jax.eval_shape`.

    `module` must not name a mapped axis: initialising happens outside of any.
    """
    image = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    key = jax.random.fold_in(jax.random.key(seed), 0)  # 1 is the dropout keys' in steps.py
    variables = module.init(key, image, train=False)
    params = variables["params"]
    fields = {
        "step": jnp.zeros((), jnp.int32),
        "params": params,
        "batch_stats": variables.get("batch_stats", {}),
        "opt_state": optimizer.init(params),
        "tally": empty_tally(classes),
    }
    if not is_averaged:
        return TrainState(**fields)
    averages = {name: jax.tree.map(jnp.copy, fields[name]) for name in ("params", "batch_stats")}
    return AveragedState(**fields, ema=averages)


def parts(module: nn.Module, image_size: int) -> tuple[str, ...]:
    """Names of the backbone's parts that have parameters, from the picture to the head."""
    found: list[str] = []

    def initialise() -> None:
        image = jnp.zeros((1, image_size, image_size, 3))
        found.extend(module.init(jax.random.key(0), image, train=False)["params"]["backbone"])

    jax.eval_shape(initialise)  # what it returned would be sorted by name
    return tuple(found)


def check_finite(state: TrainState) -> None:
    """What is validated or saved must be a state that a run can go on from.

    Raises:
        UserError: a parameter or a statistic is NaN or infinite; says how many arrays are.
    """
    leaves = jax.tree.leaves_with_path((state.params, state.batch_stats))
    bad = [path for path, x in leaves if not np.isfinite(np.asarray(local(x))).all()]
    if bad:
        raise UserError(
            f"training stopped: after step {int(state.step)} {len(bad)} of {len(leaves)} arrays of "
            f"the network are not finite, the first {jax.tree_util.keystr(bad[0])}; checkpoints "
            "from before are kept. A lower learning rate, a warm-up or gradient clipping may help"
        )


def local(x: Any) -> Any:
    """One device's copy of an array that may be replicated over many hosts."""
    return x.addressable_data(0) if isinstance(x, jax.Array) else x


def with_backbone(state: TrainState, variables: Any) -> TrainState:
    """The state with the backbone of `variables`; the head stays fresh.

    Optimiser moments need no change: they are zero at the start whatever the weights.

    Raises:
        UserError: the two backbones differ in a name or a shape.
    """
    replaced = {}
    for collection in ("params", "batch_stats"):
        old = getattr(state, collection)
        new = jax.tree.map(jnp.asarray, variables.get(collection, {}).get("backbone", {}))
        differing = mismatches(new, old.get("backbone", {}))
        if differing:
            raise UserError(
                f"the {collection} of the given weights fit another backbone: {len(differing)} "
                f"arrays differ, the first: {differing[0]}",
                differing,
            )
        replaced[collection] = {**old, "backbone": new} if new else old
    return state.starting_from(**replaced)


def mismatches(found: Any, wanted: Any) -> list[str]:
    """A line for each array that only one of two trees has, or whose shapes differ."""
    got, asked = _shapes(found), _shapes(wanted)
    return [
        f"{name}: wanted {asked.get(name, 'none')}, got {got.get(name, 'none')}"
        for name in sorted({*got, *asked})
        if got.get(name) != asked.get(name)
    ]


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
