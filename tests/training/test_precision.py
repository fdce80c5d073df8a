"""bfloat16 beside float32: the same run, as nearly as eight bits allow."""

import functools

import jax
import numpy as np
import pytest
from flax import linen as nn

from jaxall.models import densenet, head
from jaxall.training import parallel, state, steps
from tests import miniature, tiny

STEPS = 30


def build_densenet(*, dtype, axis_name, drop_path, remat) -> nn.Module:
    del drop_path
    return densenet.DenseNet(8, (2, 2), 8, dtype, axis_name, remat)


BUILDERS = {"densenet": build_densenet, "efficientnet": miniature.SPEC.build}


@functools.cache
def trained(kind: str, precision: str) -> tuple[state.TrainState, np.ndarray]:
    """The state after some steps, and the loss of each."""
    backbone = BUILDERS[kind](
        dtype=head.PRECISIONS[precision], axis_name=None, drop_path=0.1, remat=False
    )
    module = head.Classifier(backbone, head.LinearHead(tiny.CLASSES, 0.1))
    step = steps.make_train_step(module.apply, tiny.OPTIMIZER, tiny.normalise, seed=0)
    spread = parallel.Spread("pmap", (jax.devices()[0],))
    compiled, current = spread.compile(step), spread.start(tiny.create(module), None)
    losses = []
    for batch in tiny.batches(STEPS, seed=3):
        current, metrics = compiled(current, spread.batch(batch))
        losses.append(float(metrics["loss"]))
    return current, np.array(losses)


@pytest.mark.parametrize("kind", BUILDERS)
def test_the_loss_follows_that_of_float32(kind: str):
    (_, wanted), (_, found) = trained(kind, "float32"), trained(kind, "bfloat16")
    assert wanted[-5:].mean() < 0.6 * wanted[:5].mean()
    # 2 % of the first loss at any step while both start alike, and 5 % at any later one.
    first = wanted[0]
    np.testing.assert_allclose(found[:5], wanted[:5], rtol=0, atol=0.02 * first)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=0.05 * first)
    assert (found != wanted).any()


@pytest.mark.parametrize("kind", BUILDERS)
def test_parameters_statistics_and_optimizer_stay_float32(kind: str):
    current, _ = trained(kind, "bfloat16")
    for name in ("params", "batch_stats", "opt_state"):
        types = {leaf.dtype.name for leaf in jax.tree.leaves(getattr(current, name))}
        assert types <= {"float32", "int32"}
