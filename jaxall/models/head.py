"""Heads, from features [N,F] to logits [N,K], and the classifier that joins one to a backbone.

The two-layer head is that of the report on B-ALL subtypes (after Ghaderzadeh et al., 2022,
https://doi.org/10.1002/int.22753).
"""

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxall import errors
from jaxall.models import layers
from jaxall.models.spec import ModelSpec

KINDS = ("linear", "two_layer")
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
AUXILIARY = "auxiliary"  # collection of the logits that a training step learns from beside its own


@dataclasses.dataclass(kw_only=True)
class ModelSettings:
    """What is built, and what it starts from.

    Attributes:
        name: an architecture of the registry.
        init: "imagenet" (torchvision's weights, fetched once), "imagenet_v2" (its newer ones, where
            it has some), "none" (random), or the path of a .pth, .safetensors or ported file whose
            backbone is taken.
        head: "linear" or "two_layer".
        width: units of the two-layer head's dense layers.
        dropout: rate in the head.
        drop_path: rate of stochastic depth at the last block, where the architecture has it.
        precision: "float32" or "bfloat16", which the backbone computes in; parameters, batch
            statistics and the head are float32 always.
        remat: the backbone's blocks are computed again in the backward pass rather than kept: less
            memory, more time, the same gradients up to rounding.
    """

    name: str = "densenet201"
    init: str = "imagenet"
    head: str = "two_layer"
    width: int = 128
    dropout: float = 0.2
    drop_path: float = 0.2
    precision: str = "float32"
    remat: bool = False

    def validate(self) -> None:
        """Raises UserError naming all impossible values; the name is checked by the registry."""
        errors.refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        for name, there_are in (("head", KINDS), ("precision", PRECISIONS)):
            if (came := getattr(self, name)) not in there_are:
                yield f"model.{name} is one of {', '.join(there_are)}; got {came!r}"
        if self.width < 1:
            yield f"model.width is at least 1; got {self.width}"
        for name in ("dropout", "drop_path"):
            if not 0 <= (came := getattr(self, name)) < 1:
                yield f"model.{name} is at least 0 and below 1; got {came}"


class LinearHead(nn.Module):
    """Dropout-Dense, torchvision's classifier; [N,F] -> [N,K] float32."""

    classes: int
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, features: jax.Array, *, train: bool, positions: jax.Array | None = None
    ) -> jax.Array:
        """`positions` [N]: the examples' places in the global batch, for dropout."""
        x = layers.Dropout(self.dropout, name="dropout")(features, train=train, positions=positions)
        return nn.Dense(self.classes, kernel_init=layers.linear_init, name="dense")(x)


class TwoLayerHead(nn.Module):
    """BN-Dense-BN-LeakyReLU-Dropout-Dense-BN-ReLU-Dense; [N,F] -> [N,K] float32."""

    classes: int
    width: int = 128
    dropout: float = 0.2
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, features: jax.Array, *, train: bool, positions: jax.Array | None = None
    ) -> jax.Array:
        """`positions` [N]: the examples' places in the global batch, for dropout."""

        def norm(name: str, x: jax.Array) -> jax.Array:
            return layers.BatchNorm(axis_name=self.axis_name, name=name)(x, train=train)

        def dense(name: str, x: jax.Array, width: int) -> jax.Array:
            return nn.Dense(width, kernel_init=layers.linear_init, name=name)(x)

        x = dense("dense1", norm("norm0", features), self.width)
        x = nn.leaky_relu(norm("norm1", x), 0.01)
        x = layers.Dropout(self.dropout, name="dropout")(x, train=train, positions=positions)
        x = nn.relu(norm("norm2", dense("dense2", x, self.width)))
        return dense("dense3", x, self.classes)


class Classifier(nn.Module):
    """A backbone and a head; [N,H,W,3] -> logits [N,K] float32.

    Where there are auxiliary heads, their logits are sown into the collection `AUXILIARY` in
    training. Initialising always makes their parameters, which have a place of their own: they
    belong to neither the backbone nor the head when one of these is replaced.
    """

    backbone: nn.Module
    head: nn.Module
    auxiliary: nn.Module | None = None

    def __call__(
        self, images: jax.Array, *, train: bool, positions: jax.Array | None = None
    ) -> jax.Array:
        """Softmax is the caller's business; `train` needs the collection of keys "dropout"."""
        if self.auxiliary is not None and (train or self.is_initializing()):
            features = self._watched(self.auxiliary, images, train, positions)
        else:
            features = self.backbone(images, train=train, positions=positions)
        return self.head(features, train=train, positions=positions)

    def _watched(
        self, auxiliary: nn.Module, images: jax.Array, train: bool, positions: jax.Array | None
    ) -> jax.Array:
        """The features; what the auxiliary heads say on the way is sown."""
        features, maps = self.backbone.with_maps(images, train=train, positions=positions)
        logits = auxiliary(maps, train=train, positions=positions)
        if not self.is_initializing():
            self.sow(AUXILIARY, "logits", logits)
        return features


def build(
    spec: ModelSpec,
    settings: ModelSettings,
    classes: int,
    *,
    axis_name: str | None = None,
) -> Classifier:
    """Makes the classifier; `axis_name` is the mapped axis that batch statistics are shared over.

    Raises:
        UserError: an impossible setting.
    """
    settings.validate()
    head: nn.Module
    if settings.head == "linear":
        head = LinearHead(classes, settings.dropout)
    else:
        head = TwoLayerHead(classes, settings.width, settings.dropout, axis_name)
    dtype = PRECISIONS[settings.precision]
    backbone = spec.build(
        dtype=dtype, axis_name=axis_name, drop_path=settings.drop_path, remat=settings.remat
    )
    auxiliary = spec.auxiliary and spec.auxiliary(classes=classes, dtype=dtype, axis_name=axis_name)
    return Classifier(backbone, head, auxiliary)


def torchvision_classifier(spec: ModelSpec, classes: int = 1000) -> Classifier:
    """The classifier exactly as torchvision builds it, for porting and for comparison.

    Without auxiliary heads: torchvision drops them when it has read its weights.
    """
    settings = ModelSettings(
        name=spec.name, head="linear", dropout=spec.dropout, drop_path=spec.drop_path
    )
    return build(dataclasses.replace(spec, auxiliary=None), settings, classes)
