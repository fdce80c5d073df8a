"""What counts as agreement; needs no torch."""

import math
import re

import numpy as np
import pytest

from jaxall import models
from jaxall.weights import parity, port
from tests.golden import file

VGG_POOLS = {  # places in torchvision's one row of layers
    "vgg16": (4, 9, 16, 23, 30),
    "vgg16_bn": (6, 13, 23, 33, 43),
    "vgg19": (4, 9, 18, 27, 36),
    "vgg19_bn": (6, 13, 26, 39, 52),
}


def test_a_difference_is_a_share_of_the_largest_reference_value():
    assert parity.relative_difference(np.array([1.0, -3.5]), np.array([1.0, -4.0])) == 0.125


def test_zeros_that_should_be_zeros_agree():
    assert parity.relative_difference(np.zeros(3), np.zeros(3)) == 0


@pytest.mark.parametrize(
    ("value", "reference"),
    [
        (np.ones(3), np.zeros(3)),
        (np.array([1.0, np.nan]), np.ones(2)),
        (np.ones(2), np.array([1.0, np.inf])),
        (np.ones((2, 1)), np.ones((2, 2))),
    ],
)
def test_what_cannot_be_compared_is_no_agreement(value: np.ndarray, reference: np.ndarray):
    assert math.isnan(parity.relative_difference(value, reference))


@pytest.mark.parametrize(
    "shares", [(0.1, math.nan, 0.2), (math.nan, 0.1, 0.2), (0.1, 0.2, math.nan)]
)
def test_a_block_without_a_number_is_the_worst(shares: tuple[float, ...]):
    blocks = dict(zip("abc", shares, strict=True))
    name, share = parity.Agreement(logits=0.0, blocks=blocks).worst
    assert math.isnan(share)
    assert math.isnan(blocks[name])


@pytest.mark.parametrize("name", file.NAMES)
def test_every_torch_module_with_parameters_is_compared_with_something(name: str):
    spec, shapes = models.find(name), file.load(name).shapes
    keys = {k: len(shape) for k, shape in shapes.items() if port.is_ported(spec, k)}
    pairs = parity.torch_modules(spec, keys)
    if name.startswith("vgg"):  # its stages are compared behind the pools that end them in torch
        stages = [pairs.pop(f"backbone/stage{number}") for number in range(1, 6)]
        assert stages == [f"features.{place}" for place in VGG_POOLS[name]]
    # A transition's convolution is compared behind the mean that follows it in torch.
    found = {re.sub(r"(\.transition\d)\.pool$", r"\1.conv", name) for name in pairs.values()}
    assert found <= {key.rsplit(".", depth)[0] for key in keys for depth in range(1, 9)} | {""}
    has_sequence = name.startswith(("densenet", "efficientnet"))
    assert pairs["backbone"] == ("features" if has_sequence else "")
    with_kernels = {key.rpartition(".")[0] for key in keys}
    assert with_kernels <= found
