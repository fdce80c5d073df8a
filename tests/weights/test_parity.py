"""Live agreement with torchvision: every block of every architecture, and one training step."""

import os
import pathlib

import jax
import numpy as np
import optax
import pytest

from jaxall import models
from jaxall.weights import parity, port, state_dict
from tests import hostile, quick
from tests.golden import file

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
    tensors["features.denseblock2.denselayer3.norm2.weight"][5] *= 1.01
    agreement = parity.compare(spec, port.port(spec, tensors), model, images)
    blocks = {path for path, share in agreement.blocks.items() if share > 1e-5}
    assert "backbone/denseblock2/denselayer3/norm2" in blocks
    assert not any(
        "denseblock1" in path or "denselayer2/" in path
        for path in blocks
        if "denseblock2" in path or "denseblock1" in path
    )


CLASSES, BATCH = 7, 8


def away_from_kinks(tensors: dict[str, np.ndarray]) -> None:
    """Makes each channel of a batch norm lie wholly above or below zero, in place.

    A value that rounds to another side of a ReLU's kink gives another gradient: torch in float32
    differs from torch in float64 by 8 % there, which would hide an error.
    """
    for key in list(tensors):
        module, leaf = key.rsplit(".", 1)
        if leaf == "bias" and f"{module}.running_var" in tensors:
            scale = np.abs(tensors[f"{module}.weight"])
            tensors[key] = (np.sign(tensors[key]) * 8 * scale).astype(np.float32)


def ours(name: str, tensors, images, labels) -> dict[str, np.ndarray]:
    """Gradients and running statistics after one step."""
    spec = models.find(name)
    settings = models.ModelSettings(name=name, head="linear", dropout=0.0, drop_path=0.0)
    module = models.build(spec, settings, CLASSES)

    def loss_fn(params, stats, x, y):
        variables = {"params": params, "batch_stats": stats}
        logits, updates = module.apply(variables, x, train=True, mutable=["batch_stats"])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return losses.mean(), updates["batch_stats"]

    variables = port.port(spec, tensors)
    (_, stats), gradients = quick.jit(jax.value_and_grad(loss_fn, has_aux=True))(
        variables["params"], variables["batch_stats"], images, labels
    )
    return port.flatten({"params": gradients, "batch_stats": stats})


def theirs(name: str, tensors, images, labels) -> dict[str, np.ndarray]:
    """The same by torch, in Flax's names and layout."""
    spec, settings = models.find(name), {}
    if name.startswith("efficientnet"):
        settings = {"dropout": 0.0, "stochastic_depth_prob": 0.0}
    model = torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **settings)
    model.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in tensors.items()})
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    torch.nn.functional.cross_entropy(model.train()(pixels), torch.from_numpy(labels)).backward()
    found = {key: value.grad.numpy() for key, value in model.named_parameters()}
    found |= {k: v.numpy() for k, v in model.state_dict().items() if "running_" in k}
    return {port.rename(spec, k, v.ndim): port.convert(v) for k, v in found.items()}


@pytest.mark.parity
@pytest.mark.parametrize("name", models.SPECS)
def test_one_training_step_has_the_gradients_and_statistics_of_torch(name: str):
    golden = file.load(name)
    shapes = {
        key: (CLASSES, *shape[1:]) if key.startswith("classifier") else shape
        for key, shape in golden.shapes.items()
    }
    tensors = hostile.state_dict(shapes)
    if name.startswith("densenet"):
        away_from_kinks(tensors)
    images, labels = hostile.images(64, BATCH), np.arange(BATCH) % CLASSES
    got, wanted = ours(name, tensors, images, labels), theirs(name, tensors, images, labels)
    assert got.keys() == wanted.keys()
    largest = max(np.abs(v).max() for k, v in wanted.items() if k.startswith("params/"))
    compared = 0
    for path, value in wanted.items():
        # A constant in front of a batch norm has no gradient but its rounding.
        if path.startswith("params/") and np.abs(value).max() < 1e-5 * largest:
            assert np.abs(got[path]).max() < 1e-4 * largest, path
            continue
        bound = 1e-4 if path.startswith("params/") else 1e-5
        assert parity.relative_difference(np.asarray(got[path]), value) < bound, path
        compared += 1
    assert compared > 0.8 * len(wanted)


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_file(), reason="no real weights at hand")
def test_real_weights_agree_block_by_block():
    spec, tensors = models.find("efficientnet_b0"), state_dict.read(REAL)
    images = hostile.images(224)
    variables = port.port(spec, tensors)
    agreement = parity.compare(spec, variables, parity.reference(spec, tensors), images)
    assert agreement.logits < 1e-5
    assert agreement.worst[1] < 1e-5, agreement.worst
    print(f"real file: logits {agreement.logits:.1e}, worst {agreement.worst}")
