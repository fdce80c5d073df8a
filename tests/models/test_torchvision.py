"""Each spec beside torchvision's own presets and builders."""

from typing import Any

import jax
import numpy as np
import pytest
from flax import linen as nn

from jaxall import models
from jaxall.data.preprocessing import Preprocessing
from jaxall.models import layers
from tests.golden import file

torchvision_cpu = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError)
torch, torchvision = torchvision_cpu.torch, torchvision_cpu.torchvision
pytestmark = pytest.mark.parity


def our_modules(spec: models.ModelSpec) -> list[nn.Module]:
    """Every module with torchvision's settings, as often as initialising calls it."""
    found: list[nn.Module] = []

    def record(function, arguments, settings, context) -> Any:
        if context.method_name == "__call__":
            found.append(context.module)
        return function(*arguments, **settings)

    settings = models.ModelSettings(
        head="linear", dropout=spec.dropout, drop_path=spec.drop_path, init="none"
    )
    classifier = models.build(spec, settings, 1000)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    with nn.intercept_methods(record):
        jax.eval_shape(lambda x: classifier.init(jax.random.key(0), x, train=False), image)
    return found


@pytest.mark.parametrize("name", file.NAMES)
def test_a_spec_names_the_files_and_the_presets_of_torchvision(name: str):
    spec = models.find(name)
    theirs = [
        weights
        for weights in torchvision.models.get_model_weights(name)
        if not weights.name.endswith("FEATURES")  # VGG16's, of which the classifier is not trained
    ]
    assert [weights.name for weights in theirs] == ["IMAGENET1K_V1", "IMAGENET1K_V2"][: len(theirs)]
    assert [weights.url for weights in spec.weights] == [weights.url for weights in theirs]
    for own, weights in zip(spec.weights, theirs, strict=True):
        preset = weights.transforms()
        assert spec.parameters == weights.meta["num_params"]
        assert [own.image_size] == preset.crop_size
        assert [own.resize_size] == preset.resize_size
        assert own.interpolation == preset.interpolation.value
        if name != "googlenet":  # it normalises a second time, see below
            assert (list(spec.mean), list(spec.std)) == (preset.mean, preset.std)


def test_googlenet_sees_what_torchvision_makes_of_its_pictures_in_two_steps():
    spec, weights = models.find("googlenet"), torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1
    network = torchvision_cpu.network("googlenet", transform_input=True)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    preset = weights.transforms()
    once = preset(torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy()).float() / 255)
    normalise = Preprocessing.for_model(224, "bilinear", spec.mean, spec.std, "imagenet").normalise
    assert preset.mean != list(spec.mean)
    np.testing.assert_allclose(
        network._transform_input(once).numpy().transpose(0, 2, 3, 1),
        normalise(pictures[:, 16:-16, 16:-16]),  # the preset's crop
        atol=2e-6,
    )


@pytest.mark.parametrize(
    "name",
    ["densenet121", "efficientnet_b0", "efficientnet_b5", "googlenet", "resnet50", "vgg19_bn"],
)
def test_norms_and_rates_of_dropout_are_set_as_in_torchvision(name: str):
    spec = models.find(name)
    ours = our_modules(spec)
    with torch.device("meta"):
        theirs = list(torchvision_cpu.network(name).modules())
    norms = [m for m in theirs if isinstance(m, torch.nn.BatchNorm2d)]
    our_norms = [m for m in ours if isinstance(m, layers.BatchNorm)]
    assert len(our_norms) == len(norms)
    assert [m.epsilon for m in our_norms] == [m.eps for m in norms]
    assert [1 - m.momentum for m in our_norms] == pytest.approx([m.momentum for m in norms])
    rates = [m.p for m in theirs if isinstance(m, torch.nn.Dropout)] or [0.0]
    # GoogLeNet's auxiliary heads come earlier here.
    assert sorted(m.rate for m in ours if m.name == "dropout") == sorted(rates)
    # torchvision sets a rate in every block; only those that add their input use it.
    paths = [m.stochastic_depth.p for m in theirs if getattr(m, "use_res_connect", False)]
    assert [m.rate for m in ours if m.name == "drop_path"] == pytest.approx(paths)
