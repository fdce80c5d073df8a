"""Live agreement with torchvision: every block of every architecture, and one training step."""

import os
import pathlib

import numpy as np
import pytest

from jaxall import models
from jaxall import port as command
from jaxall.weights import parity, port
from tests import hostile

torchvision_cpu = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError)
torch, torchvision = torchvision_cpu.torch, torchvision_cpu.torchvision
WEIGHTS = pathlib.Path(
    os.environ.get("JAXALL_WEIGHTS", pathlib.Path(__file__).parents[3] / "shared" / "weights")
)
REAL = WEIGHTS / "efficientnet_b0_finetuned_binary.pth"


def network(name: str, **settings):
    """torchvision's network with hostile weights."""
    model = torchvision.models.get_model(name, weights=None, **settings)
    tensors = hostile.state_dict({k: tuple(v.shape) for k, v in model.state_dict().items()})
    model.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in tensors.items()})
    return model


def tensors_of(model) -> dict[str, np.ndarray]:
    return {key: value.detach().numpy().copy() for key, value in model.state_dict().items()}


def modules_with_parameters(variables) -> set[str]:
    paths = [path.split("/")[1:-1] for path in port.flatten(variables)]
    return {"/".join(path[:depth]) for path in paths for depth in range(1, len(path) + 1)}


@pytest.mark.parity
@pytest.mark.parametrize("name", models.SPECS)
def test_logits_and_every_block_agree_under_hostile_statistics(name: str):
    spec, model, images = models.find(name), network(name), hostile.images(64)
    hostile.calibrate(model, images)
    variables = port.port(spec, tensors_of(model))
    agreement = parity.compare(spec, variables, model, images)
    assert agreement.logits < 1e-5
    assert agreement.worst[1] < 1e-5, agreement.worst
    # Every module with parameters is compared, but the backbone, whose output is pooled only here.
    assert modules_with_parameters(variables) - set(agreement.blocks) <= {"backbone", "head"}
    print(f"{name}: logits {agreement.logits:.1e}, worst {agreement.worst}")


@pytest.mark.parity
def test_one_wrong_value_is_found_and_placed():
    spec, model, images = models.find("densenet121"), network("densenet121"), hostile.images(64)
    hostile.calibrate(model, images)
    tensors = tensors_of(model)
    tensors["features.denseblock2.denselayer3.norm2.weight"][5] *= 1.1
    agreement = parity.compare(spec, port.port(spec, tensors), model, images)
    differing = [path for path, share in agreement.blocks.items() if share > 1e-5]
    inside = [path for path in differing if path.count("/") == 3]
    assert inside[0] == "backbone/denseblock2/denselayer3/norm2"
    assert not any("denseblock1" in path or "transition1" in path for path in differing)
    assert agreement.logits > 1e-5


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_file(), reason="no real weights at hand")
def test_real_weights_agree_block_by_block():
    spec = models.find("efficientnet_b0")
    agreement = command.verify(spec, REAL, port.load(spec, REAL))
    assert agreement.logits < 1e-5
    assert agreement.worst[1] < 1e-5, agreement.worst
    print(f"real file: logits {agreement.logits:.1e}, worst {agreement.worst}")
