"""A classifier small enough to compile in a second, and pictures it can learn."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxall.models import head, layers
from jaxall.training import parallel, state, steps

SIZE, CLASSES, BATCH_SIZE = 16, 3, 16


class Backbone(nn.Module):
    """Two strided convolutions with batch norm; [N,16,16,3] -> features [N,12]."""

    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, positions: jax.Array | None = None
    ) -> jax.Array:
        x = images
        for index, features in enumerate((8, 12)):
            x = layers.Conv(features, 3, 2, dtype=self.dtype, name=f"conv{index}")(x)
            norm = layers.BatchNorm(axis_name=self.axis_name, dtype=self.dtype, name=f"norm{index}")
            x = nn.silu(norm(x, train=train))
        return layers.global_average(x)


def classifier(
    *, axis_name: str | None = None, dtype: Any = jnp.float32, dropout: float = 0.2
) -> head.Classifier:
    """With `axis_name`, batch statistics are those of the global batch."""
    return head.Classifier(Backbone(axis_name, dtype), head.LinearHead(CLASSES, dropout))


def normalise(images: Any) -> Any:
    """uint8 [N,S,S,3] -> float32 around 0."""
    return images.astype(jnp.float32) / 128 - 1


def batches(count: int, *, seed: int = 0, size: int = BATCH_SIZE) -> list[steps.Batch]:
    """Noise with a bright channel that is the label."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        label = generator.integers(0, CLASSES, size).astype(np.int32)
        image = generator.integers(0, 160, (size, SIZE, SIZE, 3))
        image[np.arange(size), :, :, label] += 60
        position = np.arange(size, dtype=np.int32)
        made.append({"image": image.astype(np.uint8), "label": label, "position": position})
    return made


OPTIMIZER = optax.adam(3e-3)


def create(module: nn.Module | None = None) -> Callable[[], state.TrainState]:
    """What `Spread.start` starts from."""
    module = module or classifier()
    return lambda: state.create(module, OPTIMIZER, image_size=SIZE, classes=CLASSES, seed=0)


def step(*, is_synced: bool = True, **options: Any) -> steps.TrainStep:
    """The training step of `classifier`, per device."""
    module = classifier(axis_name=steps.AXIS if is_synced else None, **options)
    return steps.make_train_step(module.apply, OPTIMIZER, normalise, seed=0)


def train(
    spread: parallel.Spread,
    fed: Sequence[steps.Batch],
    train_step: steps.TrainStep | None = None,
) -> tuple[state.TrainState, list[dict[str, float]]]:
    """From a fresh state through all batches; returns the state and each step's metrics."""
    compiled = spread.compile(train_step or step())
    current = spread.start(create(), None)
    metrics = []
    for batch in fed:
        current, found = compiled(current, spread.batch(batch))
        metrics.append({name: float(value) for name, value in found.items()})
    return current, metrics


def bits(tree: Any) -> list[tuple[str, str, bytes]]:
    """What two trees must share to be the same to the last bit."""
    return [
        (jax.tree_util.keystr(path), str(leaf.dtype), np.asarray(leaf).tobytes())
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
