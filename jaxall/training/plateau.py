"""A learning rate that falls when the validation score no longer rises.

As torch.optim.lr_scheduler.ReduceLROnPlateau with mode="max" and threshold=0. The state lies in the
optimiser's and is saved with it; it changes at the ends of epochs only.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


class Plateau(NamedTuple):
    """What the scores so far have done.

    Attributes:
        scale: multiplies the learning rate, float32.
        best: the highest score, float32.
        waited: epochs since then, or since the rate last fell, int32.
    """

    scale: Any
    best: Any
    waited: Any


def scale_updates() -> optax.GradientTransformation:
    """Multiplies updates by the scale that `judged` has left in the state."""

    def init(params: Any) -> Plateau:
        del params
        scale, best = jnp.ones((), jnp.float32), jnp.full((), -jnp.inf, jnp.float32)
        return Plateau(scale, best, jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        return jax.tree.map(lambda x: x * state.scale, updates), state

    return optax.GradientTransformation(init, update)


def judged(
    opt_state: Any,
    score: float,
    *,
    patience: int,
    factor: float,
    place: Callable[[Plateau], Plateau] = lambda plateau: plateau,
) -> Any:
    """The optimiser's state after an epoch's validation score; one without plateau stays as it is.

    Args:
        opt_state: the state.
        score: higher is better; NaN never is.
        patience: epochs without a better score that are borne; the next lowers the rate.
        factor: multiplies the rate then.
        place: puts arrays of the host where the state lies.
    """

    def after(state: Plateau) -> Plateau:
        scale, best, waited = (np.asarray(x) for x in state)
        if np.float32(score) > best:
            return Plateau(scale, np.float32(score), np.int32(0))
        if waited < patience:
            return Plateau(scale, best, np.int32(waited + 1))
        return Plateau(np.float32(scale * np.float32(factor)), best, np.int32(0))

    return jax.tree.map(
        lambda x: place(after(x)) if _is_plateau(x) else x, opt_state, is_leaf=_is_plateau
    )


def scale_of(opt_state: Any) -> float:
    """What a plateau has left of the learning rate; 1 if the state has none."""
    leaves = jax.tree.leaves(opt_state, is_leaf=_is_plateau)
    return next((float(leaf.scale) for leaf in leaves if _is_plateau(leaf)), 1.0)


def _is_plateau(tree: Any) -> bool:
    return isinstance(tree, Plateau)
