"""The pure, per-device functions of a run; `parallel.py` spreads them over devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxall.training.state import Tally, TrainState

AXIS = "batch"  # the mapped axis: devices that share one global batch
Batch = dict[str, Any]
Metrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_train_step(
    apply: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    normalise: Callable[[Any], Any],
    *,
    seed: int,
) -> TrainStep:
    """One update from a device's share of the batch; must run under the mapped axis `AXIS`.

    Args:
        apply: `module.apply` of a classifier.
        optimizer: turns gradients into updates.
        normalise: uint8 images to the network's input.
        seed: of the dropout keys, which are a function of (seed, step, place in the batch).

    Returns:
        A function of the state and {"image" uint8 [n,S,S,3], "label" int32 [n], "position" int32
        [n]}. Its metrics are of the global batch and of the state before the update: "loss" and
        "gradient_norm" (before clipping).
    """

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        images, labels = normalise(batch["image"]), batch["label"]
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), state.step)

        def loss_fn(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
            logits, updates = apply(
                {"params": params, "batch_stats": state.batch_stats},
                images,
                train=True,
                positions=batch["position"],
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), (logits, updates)

        (loss, (logits, updates)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params
        )
        # With synchronised batch norm the statistics agree already; else they are averaged here.
        gradients, loss, batch_stats = jax.lax.pmean(
            (gradients, loss, updates.get("batch_stats", {})), AXIS
        )
        changes, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        new = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, changes),
            batch_stats=batch_stats,
            opt_state=opt_state,
            tally=_count(state.tally, logits, labels, loss),
        )
        return new, {"loss": loss, "gradient_norm": optax.tree.norm(gradients)}

    return train_step


def _count(tally: Tally, logits: jax.Array, labels: jax.Array, loss: jax.Array) -> Tally:
    seen = jnp.zeros_like(tally.confusion).at[labels, jnp.argmax(logits, -1)].add(1)
    seen = jax.lax.psum(seen, AXIS)
    return Tally(tally.confusion + seen, tally.loss + loss * seen.sum())


def make_predict_step(
    apply: Callable[..., Any], normalise: Callable[[Any], Any]
) -> Callable[[Any, Any], jax.Array]:
    """A function of the variables and uint8 images [n,S,S,3] that returns logits [n,K] float32."""

    def predict_step(variables: Any, images: Any) -> jax.Array:
        return apply(variables, normalise(images), train=False)

    return predict_step
