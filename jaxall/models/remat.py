"""Less memory for more time: a block's maps are computed again in the backward pass, not kept.

Chen et al., 2016, https://arxiv.org/abs/1604.06174
"""

from typing import Any

import jax
from flax import linen as nn


def call(
    block: nn.Module, x: jax.Array, *, is_on: bool, train: bool, **arguments: Any
) -> jax.Array:
    """`block(x, train=train, ...)`, of which only `x` is kept for the backward pass if `is_on`.

    Parameters, statistics, masks and gradients are those of the plain call.
    """

    def run(block: nn.Module, x: jax.Array) -> jax.Array:
        return block(x, train=train, **arguments)

    # What isn't differentiated keeps nothing anyway.
    return nn.remat(run)(block, x) if is_on and train else run(block, x)
