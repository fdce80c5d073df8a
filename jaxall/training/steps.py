"""The pure, per-device functions of a run; `parallel.py` spreads them over devices."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxall.training import freezing, losses, mixing, optim
from jaxall.training.state import Tally, TrainState

AXIS = "batch"  # the mapped axis: devices that share one global batch
# Collection of auxiliary logits, which a network may put there in training, and their share in what
# is learned from: Szegedy et al., 2015, https://arxiv.org/abs/1409.4842
AUXILIARY, AUXILIARY_WEIGHT = "auxiliary", 0.3
Batch = dict[str, Any]
Metrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


class Learned(NamedTuple):
    """From the pictures of one device: the gradient and the mean of their losses, and logits."""

    gradients: Any
    loss: jax.Array
    logits: jax.Array


def make_train_step(
    apply: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    normalise: Callable[[Any], Any],
    *,
    seed: int,
    accumulate: int = 1,
    loss: losses.Loss | None = None,
    mixed: mixing.MixingSettings | None = None,
    scope: freezing.Scope | None = None,
    ema: float = 0.0,
) -> TrainStep:
    """One update from a device's share of the batch; must run under the mapped axis `AXIS`.

    Args:
        apply: `module.apply` of a classifier.
        optimizer: turns gradients into updates.
        normalise: uint8 images to the network's input.
        seed: of the dropout keys, which are a function of (seed, step, place in the batch), and of
            mixing.
        accumulate: equal parts that a device's share is taken in, one after another; batch norm
            sees one at a time, so that only without it the update is the same for every number.
        loss: what is minimised, of the global batch; plain cross entropy if None.
        mixed: how pictures are mixed; not at all if None.
        scope: what is trained; everything if None.
        ema: decay of the averages of a state that keeps them.

    Returns:
        A function of the state and {"image" uint8 [n,S,S,3], "label" int32 [n], "position" int32
        [n]}. Its metrics are of the global batch and of the state before the update: "loss" and
        "gradient_norm" (before clipping). The loss is of the logits that predict; auxiliary ones,
        if the network has any, have their part in the gradient alone. The tally counts mixed
        pictures by their own labels, and their plain cross entropy.
    """
    criterion, mixed = loss or losses.Loss(), mixed or mixing.MixingSettings()
    trained = scope or freezing.Scope()

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), state.step)
        batch, mix = mixing.mix(mixed, batch, seed, state.step)
        # Of the global batch, so that neither devices nor parts matter to what a picture counts.
        weight = 1.0
        if criterion.weights is not None:
            weight = jax.lax.pmean(mix.by_label(batch, criterion.weight).mean(), AXIS)

        chosen = trained.pick(state.params)
        moving, held = trained.split(state.batch_stats, state.params)

        def of_part(batch_stats: Any, part: Batch) -> tuple[Any, Learned]:
            """The running statistics after a part of the batch, and what its pictures teach."""
            images = mix.pictures(part, normalise)

            def loss_fn(params: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array, Any]]:
                variables = {"params": freezing.fill(params, state.params)}
                variables |= {"batch_stats": batch_stats, freezing.HELD: held}
                logits, updates = apply(
                    variables,
                    images,
                    train=True,
                    positions=part["position"],
                    rngs={"dropout": key},
                    mutable=["batch_stats", AUXILIARY],
                )

                def loss_of(logits: jax.Array) -> jax.Array:
                    found = mix.by_label(part, functools.partial(criterion, logits))
                    return found.mean() / weight

                loss, more = loss_of(logits), jax.tree.leaves(updates.get(AUXILIARY, {}))
                return loss + AUXILIARY_WEIGHT * sum(map(loss_of, more)), (loss, logits, updates)

            gradients, (loss, logits, updates) = jax.grad(loss_fn, has_aux=True)(chosen)
            return updates.get("batch_stats", {}), Learned(gradients, loss, logits)

        if accumulate == 1:
            moving, (gradients, loss, logits) = of_part(moving, batch)
        else:
            begun = moving, chosen
            moving, (gradients, loss, logits) = _in_parts(of_part, begun, batch, accumulate)
        # With synchronised batch norm the statistics agree already; else they are averaged here.
        gradients, loss, moving = jax.lax.pmean((gradients, loss, moving), AXIS)
        changes, opt_state = trained.update(optimizer, gradients, state.opt_state, state.params)
        new = state.after(
            ema,
            step=state.step + 1,
            params=trained.apply(changes, state.params),
            batch_stats=freezing.join(moving, held),
            opt_state=opt_state,
            tally=_count(state.tally, logits, batch["label"]),
        )
        return new, {"loss": loss, "gradient_norm": optim.global_norm(gradients)}

    return train_step


def _in_parts(
    of_part: Callable[[Any, Batch], tuple[Any, Learned]],
    begun: tuple[Any, Any],
    batch: Batch,
    count: int,
) -> tuple[Any, Learned]:
    """What `of_part` gives for all parts together; the statistics go from each to the next.

    `begun` are the statistics before the first, and the parameters that gradients are taken of.
    """
    parts = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)

    def add(carry: tuple[Any, Any, jax.Array], part: Batch) -> tuple[Any, jax.Array]:
        batch_stats, *sums = carry
        batch_stats, (gradients, loss, logits) = of_part(batch_stats, part)
        return (batch_stats, *jax.tree.map(jnp.add, sums, [gradients, loss])), logits

    statistics, params = begun
    nothing = jax.tree.map(jnp.zeros_like, params), jnp.zeros(())
    (batch_stats, *sums), logits = jax.lax.scan(add, (statistics, *nothing), parts)
    gradients, loss = jax.tree.map(lambda x: x / count, sums)
    return batch_stats, Learned(gradients, loss, logits.reshape(-1, logits.shape[-1]))


def _count(tally: Tally, logits: jax.Array, labels: jax.Array) -> Tally:
    """With the plain cross entropy, whatever is minimised: what validation is judged by as well."""
    seen = jnp.zeros_like(tally.confusion).at[labels, jnp.argmax(logits, -1)].add(1)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).sum()
    seen, loss = jax.lax.psum((seen, loss), AXIS)
    return Tally(tally.confusion + seen, tally.loss + loss)


def make_predict_step(
    apply: Callable[..., Any], normalise: Callable[[Any], Any]
) -> Callable[[Any, Any], jax.Array]:
    """A function of the variables and uint8 images [n,S,S,3] that returns logits [n,K] float32."""

    def predict_step(variables: Any, images: Any) -> jax.Array:
        return apply(variables, normalise(images), train=False)

    return predict_step
