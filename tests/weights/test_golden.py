"""Parity with torchvision from files, where torch itself is absent."""

import numpy as np
import pytest

from jaxall import models
from jaxall.weights import parity, port
from tests import hostile, quick
from tests.golden import file

EVERYWHERE = ("densenet121", "densenet201", "efficientnet_b0", "efficientnet_b5")
EVERYWHERE += ("googlenet", "resnet18", "resnet50")
NAMES = [
    name if name in EVERYWHERE else pytest.param(name, marks=pytest.mark.parity)
    for name in file.NAMES
]


def test_every_architecture_has_its_golden_file():
    assert {path.stem for path in file.FOLDER.glob("*.npz")} == set(file.NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_those_of_torchvision(name: str):
    spec, golden = models.find(name), file.load(name)
    variables = port.port(spec, hostile.state_dict(golden.shapes, golden.gains))
    module = models.torchvision_classifier(spec)
    logits = quick.jit(lambda v, x: module.apply(v, x, train=False))(
        variables, hostile.images(golden.image_size)
    )
    assert golden.logits.std() > 0.5  # the gains did their work
    assert parity.relative_difference(np.asarray(logits), golden.logits) < 1e-5
