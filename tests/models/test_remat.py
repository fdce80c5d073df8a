"""Blocks that are computed again: the same network, in less memory."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxall.models import densenet, head, resnet
from tests import miniature, quick, tiny

SIZE = 64


def backbone(kind: str, *, remat: bool) -> nn.Module:
    if kind == "densenet":
        return densenet.DenseNet(8, (2, 3), 8, remat=remat)
    if kind == "resnet":
        return resnet.ResNet(True, (2, 1, 1, 1), remat=remat)
    return miniature.SPEC.build(drop_path=0.5, remat=remat)


def loss_of(kind: str, remat: bool, run: Any = quick.jit) -> tuple[Any, Any]:
    """The variables, and a function of the parameters: the loss and the statistics.

    `run` makes them: `quick.jit`, or nothing but their shapes.
    """
    module = head.Classifier(backbone(kind, remat=remat), head.LinearHead(3, 0.2))
    images = jax.random.normal(jax.random.key(1), (8, SIZE, SIZE, 3))
    variables = run(functools.partial(module.init, train=False))(jax.random.key(0), images)

    def loss_fn(params: Any) -> Any:
        logits, updates = module.apply(
            {**variables, "params": params},
            images,
            train=True,
            rngs={"dropout": jax.random.key(2)},
            mutable=["batch_stats"],
        )
        return jnp.square(logits - 1).mean(), updates

    return variables, loss_fn


@pytest.mark.parametrize("kind", ["densenet", "efficientnet", "resnet"])
def test_names_values_gradients_and_statistics_are_those_of_the_plain_network(kind: str):
    # Masks of dropped branches, and one update of the running statistics, among them.
    (variables, plain), (others, again) = loss_of(kind, False), loss_of(kind, True)
    assert tiny.bits(others) == tiny.bits(variables)
    wanted, found = (
        jax.device_get(quick.jit(jax.value_and_grad(f, has_aux=True))(variables["params"]))
        for f in (plain, again)
    )
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-6 * max(1.0, float(np.abs(y).max())))


@pytest.mark.parametrize("kind", ["densenet", "efficientnet", "resnet"])
def test_less_is_kept_for_the_backward_pass(kind: str):
    # XLA drops the barriers that this rests on where it compiles for the CPU, so that what a
    # compiled program takes says nothing here.
    def kept(remat: bool) -> int:
        variables, _ = loss_of(kind, remat, lambda init: functools.partial(jax.eval_shape, init))

        def pull_back(variables: Any) -> Any:
            given = loss_of(kind, remat, lambda init: lambda *_: variables)[1]
            return jax.vjp(given, variables["params"], has_aux=True)[1]

        pullback = jax.eval_shape(pull_back, variables)
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(pullback) if x.ndim == 4)

    assert kept(True) < 0.7 * kept(False)
