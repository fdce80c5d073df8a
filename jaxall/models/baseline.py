"""The least that can be called a convolutional network: what the others must beat.

One convolution, batch normalisation, the mean over all positions, a linear head: the baseline of
the report on C-NMC 2019. Torchvision has no such network, and there are no weights of it.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxall.models import layers
from jaxall.models.spec import ModelSpec, Preset

FEATURES = 32


class Baseline(nn.Module):
    """Conv3x3-BN-ReLU-mean; [N,H,W,3] -> features [N,32] float32."""

    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, positions: jax.Array | None = None
    ) -> jax.Array:
        """`positions` is for architectures with dropout in the backbone; unused here."""
        x = layers.Conv(FEATURES, 3, dtype=self.dtype, name="conv")(images)
        norm = layers.BatchNorm(
            activation="relu", axis_name=self.axis_name, dtype=self.dtype, name="norm"
        )
        return layers.global_average(norm(x, train=train))


def _build(*, dtype: Any, axis_name: str | None, drop_path: float, remat: bool) -> Baseline:
    del drop_path, remat  # there is one block, and no branch
    return Baseline(dtype, axis_name)


SPECS = (
    ModelSpec(
        name="baseline",
        build=_build,
        features=FEATURES,
        parameters=33_928,
        paper="https://arxiv.org/abs/1502.03167",
        preset=Preset(image_size=100),
        min_image_size=1,
    ),
)
