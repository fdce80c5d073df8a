"""Each spec beside torchvision's own presets and builders."""

from typing import Any

import jax
import numpy as np
import pytest
from flax import linen as nn

from jaxall import models
from jaxall.models import layers

torchvision_cpu = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError)
torch, torchvision = torchvision_cpu.torch, torchvision_cpu.torchvision
pytestmark = pytest.mark.parity


def our_modules(spec: models.ModelSpec) -> list[nn.Module]:
    """Every module of torchvision's classifier, as often as it is called."""
    found: list[nn.Module] = []

    def record(function, arguments, settings, context) -> Any:
        if context.method_name == "__call__":
            found.append(context.module)
        return function(*arguments, **settings)

    classifier = models.torchvision_classifier(spec)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    with nn.intercept_methods(record):
        jax.eval_shape(lambda x: classifier.init(jax.random.key(0), x, train=False), image)
    return found


@pytest.mark.parametrize("name", models.SPECS)
def test_a_spec_names_the_file_and_the_preset_of_torchvision(name: str):
    spec = models.find(name)
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    preset = weights.transforms()
    assert spec.url == weights.url
    assert spec.parameters == weights.meta["num_params"]
    assert [spec.image_size] == preset.crop_size
    assert [spec.resize_size] == preset.resize_size
    assert spec.interpolation == preset.interpolation.value
    assert (list(spec.mean), list(spec.std)) == (preset.mean, preset.std)


@pytest.mark.parametrize("name", ["densenet121", "efficientnet_b0", "efficientnet_b5"])
def test_norms_and_rates_of_dropout_are_set_as_in_torchvision(name: str):
    ours = our_modules(models.find(name))
    with torch.device("meta"):
        theirs = list(torchvision.models.get_model(name).modules())
    norms = [m for m in theirs if isinstance(m, torch.nn.BatchNorm2d)]
    our_norms = [m for m in ours if isinstance(m, layers.BatchNorm)]
    assert len(our_norms) == len(norms)
    assert [m.epsilon for m in our_norms] == [m.eps for m in norms]
    assert [1 - m.momentum for m in our_norms] == pytest.approx([m.momentum for m in norms])
    rates = [m.p for m in theirs if isinstance(m, torch.nn.Dropout)] or [0.0]
    assert [m.rate for m in ours if m.name == "dropout"] == rates
    # torchvision sets a rate in every block; only those that add their input use it.
    paths = [m.stochastic_depth.p for m in theirs if getattr(m, "use_res_connect", False)]
    assert [m.rate for m in ours if m.name == "drop_path"] == pytest.approx(paths)
