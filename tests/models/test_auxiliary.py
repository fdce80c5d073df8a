"""GoogLeNet's auxiliary heads: there while it learns, nobody's business otherwise."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxall import models
from jaxall.models import head
from jaxall.training import state, steps
from jaxall.weights import port
from tests import hostile
from tests.golden import file

SPEC = models.find("googlenet")
IMAGE = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)


@functools.cache
def built() -> tuple[head.Classifier, Any]:
    module = models.build(SPEC, models.ModelSettings(name="googlenet", init="none"), 4)
    init = functools.partial(module.init, train=False)
    return module, jax.eval_shape(init, jax.random.key(0), IMAGE)


def traced(train: bool) -> Any:
    """Logits and updates."""
    module, variables = built()
    rngs, mutable = {"dropout": jax.random.key(0)}, ["batch_stats", steps.AUXILIARY]
    return jax.eval_shape(
        lambda v, x: module.apply(v, x, train=train, rngs=rngs, mutable=mutable), variables, IMAGE
    )


def test_initialising_makes_them_beside_backbone_and_head_and_nothing_else():
    _, variables = built()
    assert set(variables) == {"params", "batch_stats"}
    assert set(variables["params"]) == {"auxiliary", "backbone", "head"}
    heads = variables["params"]["auxiliary"]
    assert {name: x["fc2"]["kernel"].shape for name, x in heads.items()} == {
        "aux1": (1024, 4),
        "aux2": (1024, 4),
    }
    assert heads["aux1"]["conv"]["conv"]["kernel"].shape == (1, 1, 512, 128)
    assert heads["aux2"]["conv"]["conv"]["kernel"].shape == (1, 1, 528, 128)


def test_their_logits_are_handed_out_in_training_alone():
    assert head.AUXILIARY == steps.AUXILIARY
    logits, updates = traced(train=True)
    assert logits.shape == (2, 4)
    found = jax.tree.leaves(updates[steps.AUXILIARY])
    assert [(x.shape, x.dtype) for x in found] == [((2, 4), jnp.float32)] * 2
    assert jax.tree.structure(updates["batch_stats"]) == jax.tree.structure(
        built()[1]["batch_stats"]
    )
    assert steps.AUXILIARY not in traced(train=False)[1]


def test_a_step_keeps_the_state_as_it_is_and_moves_them():
    module, _ = built()
    optimizer = optax.sgd(0.1)
    before = jax.eval_shape(
        lambda: state.create(module, optimizer, image_size=64, classes=4, seed=0)
    )
    step = steps.make_train_step(module.apply, optimizer, lambda x: x / 255.0, seed=0)
    batch = {
        "image": jax.ShapeDtypeStruct((1, 2, 64, 64, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((1, 2), jnp.int32),
        "position": jax.ShapeDtypeStruct((1, 2), jnp.int32),
    }
    spread = jax.pmap(step, steps.AXIS, in_axes=(None, 0), out_axes=None, devices=jax.devices()[:1])
    after, _ = jax.eval_shape(spread, before, batch)
    assert jax.tree.structure(after) == jax.tree.structure(before)


@pytest.mark.parametrize("has_auxiliary", [True, False])
def test_torchs_file_is_ported_with_and_without_them_and_fills_the_backbone_only(
    has_auxiliary: bool,
):
    shapes = file.load("googlenet").shapes
    kept = {k: x for k, x in shapes.items() if has_auxiliary or not k.startswith("aux")}
    assert (len(kept) == len(shapes)) == has_auxiliary
    variables = port.port(SPEC, hostile.state_dict(kept))
    assert set(variables["params"]) == {"backbone", "head"}
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape), built()[1])
    fresh = state.TrainState(
        step=jnp.zeros((), jnp.int32), opt_state=(), tally=state.empty_tally(4), **zeros
    )
    filled = state.with_backbone(fresh, variables)
    kernel = filled.params["backbone"]["inception3a"]["branch3"]["conv"]["kernel"]
    source = hostile.state_dict(kept)["inception3a.branch3.1.conv.weight"]
    np.testing.assert_array_equal(kernel, source.transpose(2, 3, 1, 0))
    assert all(not leaf.any() for leaf in jax.tree.leaves(filled.params["auxiliary"]))


def test_every_key_of_torchs_auxiliary_heads_has_a_place_of_its_shape():
    classes = models.build(SPEC, models.ModelSettings(head="linear", init="none"), 1000)
    variables = jax.eval_shape(
        functools.partial(classes.init, train=False), jax.random.key(0), IMAGE
    )
    wanted = {path: x.shape for path, x in port.flatten(variables).items() if "/auxiliary/" in path}
    tensors = hostile.state_dict(
        {k: x for k, x in file.load("googlenet").shapes.items() if k.startswith("aux")}
    )
    found = {
        port.rename(SPEC, key, x.ndim): port.convert(SPEC, key, x).shape
        for key, x in tensors.items()
        if x.ndim
    }
    assert found == wanted
