"""Pictures of every size that an architecture says it takes; nothing is computed, only traced."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from jaxall import config, models
from jaxall.errors import UserError

SIZES = (100, 128, 200, 300)
# One of each family goes through all of them, since its variants halve their maps alike.
ONE_OF_EACH = ("baseline", "densenet121", "efficientnet_b0", "googlenet", "resnet50", "vgg16_bn")
CLASSES = 4


@functools.cache
def built(name: str) -> tuple[nn.Module, Any]:
    """A classifier with the linear head, and the shapes of its variables."""
    settings = models.ModelSettings(name=name, init="none", head="linear")
    module = models.build(models.find(name), settings, CLASSES)
    variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), image(64))
    return module, variables


def image(size: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)


def traced(name: str, size: int, *, train: bool) -> tuple[tuple[int, ...], int]:
    """The shape of the logits, and the shortest side of any maps on the way."""
    module, variables = built(name)
    sides: list[int] = []

    def record(function, arguments, settings, context) -> Any:
        given = [x for x in jax.tree.leaves(arguments) if getattr(x, "ndim", 0) == 4]
        sides.extend(side for maps in given for side in maps.shape[1:3])
        return function(*arguments, **settings)

    def run(variables, images):
        rngs = {"dropout": jax.random.key(0)}
        with nn.intercept_methods(record):
            return module.apply(variables, images, train=train, rngs=rngs, mutable=["batch_stats"])

    logits, updates = jax.eval_shape(run, variables, image(size))
    assert jax.tree.structure(updates.get("batch_stats", {})) == jax.tree.structure(
        variables.get("batch_stats", {})
    )
    return logits.shape, min(sides)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    ("name", "size"),
    [(name, models.find(name).min_image_size) for name in models.SPECS]
    + [(name, size) for name in ONE_OF_EACH for size in SIZES],
)
def test_a_size_from_the_minimum_on_goes(name: str, size: int, train: bool):
    logits, shortest = traced(name, size, train=train)
    assert logits == (2, CLASSES)
    assert shortest >= 1


@pytest.mark.parametrize(
    "name", [name for name, spec in models.SPECS.items() if spec.min_image_size > 1]
)
def test_below_the_minimum_nothing_is_left_and_the_config_refuses_it(name: str):
    minimum = models.find(name).min_image_size
    try:
        shortest = traced(name, minimum - 1, train=False)[1]
    except (ValueError, TypeError, ZeroDivisionError):  # of an operation on nothing
        shortest = 0
    assert shortest == 0
    made = config.Config(
        name="a",
        model=config.ModelSettings(name=name, init="none"),
        preprocessing=config.PreprocessingSettings(image_size=minimum - 1),
    )
    wanted = f"preprocessing.image_size of {name} is at least {minimum}; got {minimum - 1}"
    with pytest.raises(UserError, match=wanted):
        made.validate()
    made.preprocessing.image_size = minimum
    made.validate()


@pytest.mark.parity
@pytest.mark.parametrize("name", [name for name, spec in models.SPECS.items() if spec.weights])
def test_the_minimum_is_torchvisions(name: str):
    torchvision_cpu = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError)
    weights = torchvision_cpu.torchvision.models.get_model_weights(name).IMAGENET1K_V1
    assert weights.meta["min_size"] == (models.find(name).min_image_size,) * 2
