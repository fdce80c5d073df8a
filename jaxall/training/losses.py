"""What training minimises: cross entropy, with weights of the classes, smoothing and focus.

Label smoothing: Szegedy et al., 2016, https://arxiv.org/abs/1512.00567
Focal loss: Lin et al., 2017, https://arxiv.org/abs/1708.02002
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxall import errors

# How many examples a class has for each that it would have if all were alike -> its weight.
CLASS_WEIGHTS: dict[str, Callable[[np.ndarray], np.ndarray] | None] = {
    "none": None,
    "balanced": lambda excess: 1 / excess,
    "sqrt": lambda excess: 1 / np.sqrt(excess),
}


@dataclasses.dataclass(kw_only=True)
class LossSettings:
    """Which loss; evaluation is judged by plain cross entropy whatever they say.

    Attributes:
        class_weights: "none"; "balanced", n / (K n_c) for a class with n_c of the n training
            pictures; or "sqrt", the square root of that.
        focal_gamma: how much less a picture counts the surer the network is of it; 0 for not.
        label_smoothing: share of a label that is spread evenly over all classes.
    """

    class_weights: str = "none"
    focal_gamma: float = 0.0
    label_smoothing: float = 0.0

    def validate(self) -> None:
        """Raises UserError naming every impossible field, what it may be, and what came."""
        errors.refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.class_weights not in CLASS_WEIGHTS:
            yield (
                f"loss.class_weights is one of {', '.join(CLASS_WEIGHTS)}; "
                f"got {self.class_weights!r}"
            )
        if not 0 <= self.focal_gamma < math.inf:
            yield f"loss.focal_gamma is at least 0 and finite; got {self.focal_gamma}"
        if not 0 <= self.label_smoothing < 1:
            yield f"loss.label_smoothing is at least 0 and below 1; got {self.label_smoothing}"


@dataclasses.dataclass(frozen=True, eq=False)
class Loss:
    """The losses of examples, of which a batch's loss is the weighted mean.

    Attributes:
        weights: of the classes, float32 [K]; None for the same.
        focal_gamma: as in the settings.
        label_smoothing: as in the settings.
    """

    weights: np.ndarray | None = None
    focal_gamma: float = 0.0
    label_smoothing: float = 0.0

    def __call__(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        """Logits [n,K] and labels int [n] -> [n], each times its weight.

        The terms are torch.nn.CrossEntropyLoss's: of smoothed labels each class has its own
        weight. With focal_gamma a term of probability p is multiplied by (1 - p)^gamma.
        """
        if self.weights is None and not (self.focal_gamma or self.label_smoothing):
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        classes = logits.shape[-1]
        targets = optax.smooth_labels(jax.nn.one_hot(labels, classes), self.label_smoothing)
        terms = -jax.nn.log_softmax(logits)
        if self.focal_gamma:
            # Where nothing of 1 - p is left, the power's slope would be infinite.
            doubt = jnp.maximum(-jnp.expm1(-terms), jnp.finfo(terms.dtype).eps)
            terms *= doubt**self.focal_gamma
        if self.weights is not None:
            targets *= self.weights[None]
        return (targets * terms).sum(-1)

    def weight(self, labels: jax.Array) -> jax.Array:
        """Labels int [n] -> [n]: by the sum of these the sum of the losses is divided."""
        return jnp.ones(labels.shape) if self.weights is None else jnp.take(self.weights, labels)


def make(settings: LossSettings, class_counts: Sequence[int] | np.ndarray) -> Loss:
    """The loss for a training side with so many pictures of each class.

    Raises:
        UserError: an impossible setting.
    """
    settings.validate()
    weigh, counts = CLASS_WEIGHTS[settings.class_weights], np.asarray(class_counts, float)
    if not counts.all():
        raise ValueError(f"every class needs a picture, there are {class_counts}")
    weights = None if weigh is None else weigh(counts / counts.mean()).astype(np.float32)
    return Loss(weights, settings.focal_gamma, settings.label_smoothing)
