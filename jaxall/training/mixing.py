"""Pictures that are mixed with others of their batch, and their labels with them.

mixup: Zhang et al., 2018, https://arxiv.org/abs/1710.09412
CutMix: Yun et al., 2019, https://arxiv.org/abs/1905.04899

What is mixed is a function of the seed and the step, the same on all devices. A picture's partner
is its neighbour in the share of its device: with even shares the pairs don't depend on the number
of devices, but they do on the number of hosts, between which neighbours are dealt out.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxall import errors

_STREAM = 2  # of the seed's keys; those of weights and dropout are 0 and 1
_OTHER = "partner_"  # begins the names of a partner's arrays


@dataclasses.dataclass(kw_only=True)
class MixingSettings:
    """How pictures are mixed; of both kinds, each step takes one at random.

    Attributes:
        mixup: a picture keeps a share of its own, drawn from Beta(mixup, mixup); 0 for never.
        cutmix: a box of a picture is the partner's, its area drawn from Beta(cutmix, cutmix); 0 for
            never.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def validate(self) -> None:
        """Raises UserError naming every impossible field, what it may be, and what came."""
        errors.refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        for name in ("mixup", "cutmix"):
            if not 0 <= (came := getattr(self, name)) < math.inf:
                yield f"mixing.{name} is at least 0 and finite; got {came}"


class Unmixed:
    """Pictures and labels as they are."""

    def pictures(self, batch: dict[str, Any], normalise: Callable[[Any], Any]) -> jax.Array:
        """What the network sees."""
        return normalise(batch["image"])

    def by_label(
        self, batch: dict[str, Any], function: Callable[[jax.Array], jax.Array]
    ) -> jax.Array:
        """A function of the labels [n] that gives a number for each."""
        return function(batch["label"])


class Mixed(NamedTuple):
    """How much of each picture is its own.

    Attributes:
        own: share of each pixel, float32 [S,S,1].
        share: share of the label.
    """

    own: jax.Array
    share: jax.Array

    def pictures(self, batch: dict[str, Any], normalise: Callable[[Any], Any]) -> jax.Array:
        """What the network sees."""
        image, other = normalise(batch["image"]), normalise(batch[_OTHER + "image"])
        own = self.own[None].astype(image.dtype)
        return own * image + (1 - own) * other

    def by_label(
        self, batch: dict[str, Any], function: Callable[[jax.Array], jax.Array]
    ) -> jax.Array:
        """The mean of a function of the labels [n] over own and partner's label, by their shares.

        A loss is linear in its target: this is the loss of the mixed labels.
        """
        own, other = function(batch["label"]), function(batch[_OTHER + "label"])
        return self.share * own + (1 - self.share) * other


def mix(
    settings: MixingSettings, batch: dict[str, Any], seed: int, step: jax.Array
) -> tuple[dict[str, Any], Unmixed | Mixed]:
    """A device's share of a batch, with the partners that it needs, and how they are mixed.

    Raises:
        UserError: no picture has a partner.
    """
    if not (settings.mixup or settings.cutmix):
        return batch, Unmixed()
    count, size = batch["image"].shape[:2]
    if count < 2:
        raise errors.UserError("mixing needs at least 2 pictures on each device; got 1")
    partner = partners(count)
    others = {_OTHER + name: batch[name][partner] for name in ("image", "label")}
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _STREAM), step)
    return {**batch, **others}, draw(settings, size, key)


def partners(count: int) -> np.ndarray:
    """The place of each picture's partner: 1, 0, 3, 2, ...; of an odd number the last's is 0."""
    return (np.arange(count) ^ 1) % count


def draw(settings: MixingSettings, size: int, key: jax.Array) -> Mixed:
    """The mixing of one step, for pictures of `size` pixels square."""
    of_kind, of_share, of_centre = jax.random.split(key, 3)
    is_box = jnp.array(settings.cutmix > 0)
    if settings.mixup and settings.cutmix:
        is_box = jax.random.bernoulli(of_kind)
    alpha = jnp.where(is_box, settings.cutmix, settings.mixup)
    share = jax.random.beta(of_share, alpha, alpha)
    outside = _outside_of_box(share, size, of_centre)
    own = jnp.where(is_box, outside[..., None].astype(share.dtype), share)
    return Mixed(own, jnp.where(is_box, outside.mean(), share))


def _outside_of_box(share: jax.Array, size: int, key: jax.Array) -> jax.Array:
    """Mask [S,S], False in a box that leaves this share of the picture.

    Its centre lies anywhere: what of it falls off the picture is left too.
    """
    side = (size * jnp.sqrt(1 - share)).astype(jnp.int32)
    first = jax.random.randint(key, (2, 1), 0, size) - side // 2
    places = jnp.arange(size)[None]
    is_within = (places >= first) & (places < first + side)
    return ~(is_within[0][:, None] & is_within[1][None])
