"""Live agreement with torchvision in evaluation mode: every block of every architecture."""

import itertools
import os
import pathlib

import numpy as np
import pytest

from jaxall import models
from jaxall import port as command
from jaxall.ops import batch_norm
from jaxall.weights import parity, port
from tests import hostile, quick
from tests.golden import file

make = pytest.importorskip("tests.golden.make", exc_type=ImportError)
WEIGHTS = pathlib.Path(
    os.environ.get("JAXALL_WEIGHTS", pathlib.Path(__file__).parents[3] / "shared" / "weights")
)
REAL = WEIGHTS / "efficientnet_b0_finetuned_binary.pth"


def tensors_of(network) -> dict[str, np.ndarray]:
    return {key: value.detach().numpy().copy() for key, value in network.state_dict().items()}


def modules_with_parameters(variables) -> set[str]:
    paths = [path.split("/")[1:-1] for path in port.flatten(variables)]
    return {"/".join(path[:depth]) for path in paths for depth in range(1, len(path) + 1)}


def compare(name: str, network, tensors: dict[str, np.ndarray]) -> parity.Agreement:
    spec = models.find(name)
    images = hostile.images(make.IMAGE_SIZE)
    return parity.compare(spec, port.port(spec, tensors), network, images, quick.options())


@pytest.mark.parity
@pytest.mark.parametrize("name", file.NAMES)
def test_logits_and_every_block_agree_under_hostile_statistics(name: str):
    network, _ = make.hostile_network(name)
    tensors = tensors_of(network)
    agreement = compare(name, network, tensors)
    print(f"{name}: logits {agreement.logits:.1e}, worst {agreement.worst}")
    assert agreement.logits < 1e-5
    assert agreement.worst[1] < 1e-5, agreement.worst
    modules = modules_with_parameters(port.port(models.find(name), tensors))
    assert set(agreement.blocks) == modules - {"backbone"}  # which is pooled here only


@pytest.mark.parity
def test_one_wrong_channel_is_found_and_placed():
    network, _ = make.hostile_network("densenet121")
    tensors = tensors_of(network)
    tensors["features.denseblock2.denselayer3.conv2.weight"][7] *= 1.1
    agreement = compare("densenet121", network, tensors)
    differing = [path for path, share in agreement.blocks.items() if share > 1e-5]
    assert differing[0] == "backbone/denseblock2/denselayer3/conv2"
    assert len(differing) > 100  # all that follows
    assert agreement.logits > 1e-5


@pytest.mark.parity
def test_a_missing_activation_is_found_right_behind_its_place(monkeypatch):
    name = "densenet121"
    network, _ = make.hostile_network(name)
    spec, variables = models.find(name), port.port(models.find(name), tensors_of(network))
    activate, calls = batch_norm.activate, itertools.count()
    # The first is the stem's, the next two are the first layer's.
    monkeypatch.setattr(
        batch_norm, "activate", lambda x, kind: x if next(calls) == 2 else activate(x, kind)
    )
    images = hostile.images(make.IMAGE_SIZE)
    agreement = parity.compare(spec, variables, network, images, quick.options())
    differing = [path for path, share in agreement.blocks.items() if not share < 1e-5]
    assert differing[0] == "backbone/denseblock1/denselayer1/conv2"
    assert agreement.logits > 1e-5


@pytest.mark.parity
@pytest.mark.parametrize("name", file.NAMES)
def test_the_golden_file_is_what_its_recipe_makes(name: str):
    kept, made = file.load(name), make.make(name)
    assert kept.shapes == made.shapes
    assert kept.image_size == made.image_size
    assert kept.gains == pytest.approx(made.gains, rel=1e-4)
    assert parity.relative_difference(made.logits, kept.logits) < 1e-5


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_file(), reason="no real weights at hand")
def test_real_weights_agree_block_by_block():
    spec = models.find("efficientnet_b0")
    agreement = command.verify(spec, REAL, port.load(spec, REAL))
    assert agreement.logits < 1e-5
    assert agreement.worst[1] < 1e-5, agreement.worst
    print(f"real file: logits {agreement.logits:.1e}, worst {agreement.worst}")
