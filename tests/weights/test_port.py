"""The porter maps one to one, or lists every mismatch."""

import pathlib

import numpy as np
import pytest

from jaxall import models
from jaxall.errors import UserError
from jaxall.weights import download, initial, port
from tests import hostile, keys
from tests.golden import file

SPEC = models.find("densenet121")


@pytest.fixture(scope="module")
def whole() -> dict[str, np.ndarray]:
    return hostile.state_dict(keys.densenet121(5))


def mismatches(tensors: dict[str, np.ndarray]) -> tuple[str, ...]:
    with pytest.raises(port.PortError, match="mismatch") as caught:
        port.port(SPEC, tensors)
    assert "\n" not in str(caught.value)
    return caught.value.details


def test_every_variable_is_filled_and_the_file_says_how_many_classes(whole):
    flat = port.flatten(port.port(SPEC, whole))
    assert {path: x.shape for path, x in flat.items()} == port.abstract_paths(SPEC, 5)
    assert all(x.dtype == np.float32 and x.flags.c_contiguous for x in flat.values())
    kernel = flat["params/backbone/denseblock1/denselayer1/conv2/kernel"]
    source = whole["features.denseblock1.denselayer1.conv2.weight"]
    assert kernel[2, 0, 7, 3] == source[3, 7, 2, 0]
    assert flat["params/head/dense/kernel"][9, 4] == whole["classifier.weight"][4, 9]
    assert (flat["batch_stats/backbone/norm5/var"] == whole["features.norm5.running_var"]).all()


def test_all_mismatches_are_listed_at_once(whole):
    broken = {k: v for k, v in whole.items() if k != "features.norm5.bias"}
    broken["features.extra.weight"] = np.ones(3, np.float32)
    broken["features.conv0.weight"] = whole["features.conv0.weight"][:, :, :5]
    broken["features.norm0.running_var"] = np.full(64, np.nan, np.float32)
    found = mismatches(broken)
    assert len(found) == 4
    assert any(line.startswith("missing: params/backbone/norm5/bias") for line in found)
    assert any(line.startswith("unexpected: features.extra.weight") for line in found)
    assert any("features.conv0.weight: wanted (7, 7, 3, 64)" in line for line in found)
    assert any("features.norm0.running_var: not finite" in line for line in found)


def test_a_transposed_dense_layer_is_refused(whole):
    found = mismatches({**whole, "classifier.weight": whole["classifier.weight"].T.copy()})
    assert len(found) == 1
    assert "classifier.weight" in found[0]


def test_another_variant_is_refused(whole):
    with pytest.raises(port.PortError, match="not torchvision's densenet169 weights"):
        port.port(models.find("densenet169"), whole)
    with pytest.raises(port.PortError, match="not torchvision's efficientnet_b0 weights"):
        port.port(models.find("efficientnet_b0"), whole)


def test_two_keys_for_one_variable_are_refused(whole):
    twice = "features.denseblock1.denselayer1.norm.1.bias"  # the old name of norm1.bias
    found = mismatches({**whole, twice: whole["features.denseblock1.denselayer1.norm1.bias"]})
    assert found == (
        f"{twice} and features.denseblock1.denselayer1.norm1.bias both fill "
        "params/backbone/denseblock1/denselayer1/norm1/bias",
    )


def test_old_densenet_names_give_the_same_variables(whole):
    old = {
        key.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2."): value
        for key, value in whole.items()
        if not key.endswith("num_batches_tracked")
    }
    assert any(".norm.1.weight" in key for key in old)
    new, before = port.flatten(port.port(SPEC, whole)), port.flatten(port.port(SPEC, old))
    assert new.keys() == before.keys()
    assert all((new[path] == before[path]).all() for path in new)


def test_a_ported_file_comes_back_bit_for_bit_and_only_as_its_own_architecture(whole, tmp_path):
    variables = port.port(SPEC, whole)
    path = tmp_path / "new" / "ported.safetensors"
    port.save(path, SPEC, variables, {"source": "hostile"})
    back = port.flatten(initial.load(str(path), SPEC, tmp_path))
    flat = port.flatten(variables)
    assert back.keys() == flat.keys()
    assert all(back[name].tobytes() == flat[name].tobytes() for name in flat)
    with pytest.raises(port.PortError, match=r"of densenet121; wanted densenet201"):
        port.load(models.find("densenet201"), path)
    assert [file.name for file in path.parent.iterdir()] == ["ported.safetensors"]


def test_none_starts_from_random_weights(tmp_path: pathlib.Path):
    assert initial.load("none", SPEC, tmp_path) is None


def test_a_missing_file_is_one_line(tmp_path: pathlib.Path):
    with pytest.raises(ValueError, match=r"no weights file at .*absent\.pth"):
        initial.load(str(tmp_path / "absent.pth"), SPEC, tmp_path)


def test_a_dense_layer_behind_maps_sees_them_position_by_position():
    spec = models.find("vgg16")
    weight = np.random.default_rng(0).normal(size=(2, 3 * 7 * 7)).astype(np.float32)
    maps = np.random.default_rng(1).normal(size=(5, 7, 7, 3)).astype(np.float32)
    kernel = port.convert(spec, "classifier.0.weight", weight)
    wanted = maps.transpose(0, 3, 1, 2).reshape(5, -1) @ weight.T
    np.testing.assert_allclose(maps.reshape(5, -1) @ kernel, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(port.convert(spec, "classifier.3.weight", weight), weight.T)


def test_a_dense_layer_that_cannot_follow_maps_keeps_its_shape_to_be_refused_by():
    spec, shapes = models.find("googlenet"), file.load("googlenet").shapes
    tensors = hostile.state_dict({k: x for k, x in shapes.items() if k.startswith("aux1.fc")})
    short = tensors["aux1.fc1.weight"][:, :2047]
    assert port.convert(spec, "aux1.fc1.weight", short).shape == (2047, 1024)


@pytest.mark.parametrize("init", models.OFFICIAL)
def test_weights_that_torchvision_has_not_are_one_line(tmp_path: pathlib.Path, init: str):
    with pytest.raises(UserError, match=rf"^model.init={init}: .* no such weights of baseline; "):
        initial.load(init, models.find("baseline"), tmp_path)


@pytest.mark.parametrize("init", models.OFFICIAL)
def test_an_init_fetches_its_own_file(tmp_path: pathlib.Path, monkeypatch, init: str):
    asked = []

    def fetch(url, sha256_prefix, **_):
        asked.append((url, sha256_prefix))
        raise UserError("no network here")

    monkeypatch.setattr(download, "fetch", fetch)
    with pytest.raises(UserError, match="no network here"):
        initial.load(init, models.find("resnet50"), tmp_path)
    prefix = {"imagenet": "0676ba61", "imagenet_v2": "11ad3fa6"}[init]
    assert asked == [(f"https://download.pytorch.org/models/resnet50-{prefix}.pth", prefix)]


@pytest.mark.parametrize("name", file.NAMES)
def test_the_recorded_torch_names_are_mapped_without_a_remainder(name: str):
    shapes = file.load(name).shapes
    spec = models.find(name)
    paths = [
        port.rename(spec, key, len(shape))
        for key, shape in shapes.items()
        if port.is_ported(spec, key)
    ]
    assert sorted(paths) == sorted(port.abstract_paths(spec, 1000))
