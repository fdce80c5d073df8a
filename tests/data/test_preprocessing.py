import io
import json

import jax
import numpy as np
import pytest
from PIL import Image

from jaxall import errors
from jaxall.data import decoding, preprocessing

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def settings(image_size=32, interpolation="bilinear", normalisation="imagenet"):
    return preprocessing.Preprocessing.for_model(
        image_size, interpolation, **IMAGENET, normalisation=normalisation
    )


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def png(image):
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize("size", [(224, 224), (450, 300), (33, 501), (20, 24), (1, 1), (7, 1)])
@pytest.mark.parametrize("interpolation", preprocessing.INTERPOLATIONS)
@pytest.mark.parity
def test_resize_equals_torchvision_bit_for_bit(interpolation, size):
    torchvision = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError).torchvision
    image = noise(*size, 3)
    functional = torchvision.transforms.functional
    expected = functional.resize(
        Image.fromarray(image), [224, 224], functional.InterpolationMode(interpolation)
    )
    np.testing.assert_array_equal(settings(224, interpolation).resize(image), np.array(expected))


@pytest.mark.parity
def test_normalise_equals_torchvision_bit_for_bit():
    torchvision = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError).torchvision
    image = noise(32, 32, 3)
    functional = torchvision.transforms.functional
    expected = functional.normalize(functional.to_tensor(Image.fromarray(image)), **IMAGENET)
    result = settings().normalise(image[None])[0]
    np.testing.assert_array_equal(result, expected.numpy().transpose(1, 2, 0))


def test_load_decodes_and_squashes_the_whole_picture():
    image = noise(48, 96, 3)
    loaded = settings(32).load(png(image))
    assert loaded.shape == (32, 32, 3) and loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, settings(32).resize(image))
    assert loaded.flags.c_contiguous and loaded.flags.writeable


def test_a_picture_of_the_right_size_is_not_resampled():
    image = noise(32, 32, 3)
    assert settings(32, "bicubic").resize(image) is image
    np.testing.assert_array_equal(settings(32).load(png(image)), image)


def test_load_passes_on_that_bytes_are_no_picture():
    with pytest.raises(decoding.UndecodableError):
        settings().load(b"no picture")


def test_unit_normalisation_is_the_range_from_zero_to_one():
    images = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3)
    result = settings(1, normalisation="unit").normalise(images)
    np.testing.assert_array_equal(result.ravel(), np.array([0, 51 / 255, 1], np.float32))


def test_normalise_takes_each_channel_by_its_own_mean_and_std():
    images = np.full((1, 1, 1, 3), 255, np.uint8)
    expected = (1 - np.array(IMAGENET["mean"])) / np.array(IMAGENET["std"])
    np.testing.assert_allclose(settings(1).normalise(images).ravel(), expected, rtol=1e-6)


@pytest.mark.parametrize("normalisation", preprocessing.NORMALISATIONS)
def test_normalise_is_the_same_on_host_and_device(normalisation):
    images = noise(2, 32, 32, 3)
    wanted = settings(normalisation=normalisation)
    host = wanted.normalise(images)
    assert host.dtype == np.float32 and isinstance(host, np.ndarray)
    # XLA multiplies by reciprocals: an ulp before the subtraction of the mean, and then over std.
    for normalise in (wanted.normalise, jax.jit(wanted.normalise)):
        device = normalise(jax.numpy.asarray(images))
        assert isinstance(device, jax.Array) and device.dtype == np.float32
        np.testing.assert_allclose(device, host, rtol=2.4e-7, atol=1.2e-7 / min(wanted.std))


@pytest.mark.parametrize(
    "images", [noise(1, 4, 4, 3).astype(np.float32), noise(4, 4, 3), noise(1, 3, 4, 4)]
)
def test_normalise_refuses_what_is_not_a_batch_of_raw_pictures(images):
    with pytest.raises(ValueError, match=r"uint8 \[N,S,S,3\]"):
        settings(4).normalise(images)


def test_settings_survive_json():
    wanted = settings(300, "bicubic")
    restored = preprocessing.Preprocessing.from_json(json.loads(json.dumps(wanted.to_json())))
    assert restored == wanted


def test_json_with_missing_or_unknown_fields_is_refused():
    values = settings().to_json()
    del values["std"]
    with pytest.raises(errors.UserError, match=r"'std'\], not"):
        preprocessing.Preprocessing.from_json(values)
    with pytest.raises(errors.UserError, match="crop"):
        preprocessing.Preprocessing.from_json({**settings().to_json(), "crop": 1})


def test_an_unknown_normalisation_is_refused_with_what_there_is():
    with pytest.raises(errors.UserError, match="'z-score'; there are imagenet, unit"):
        settings(normalisation="z-score")


def test_all_wrong_settings_are_named_at_once():
    with pytest.raises(errors.UserError) as caught:
        preprocessing.Preprocessing(
            image_size=0, interpolation="nearest", mean=(0.0, 0.0, 0.0), std=(1.0, 0.0, 1.0)
        )
    for part in ("image_size", "'nearest'; there are bilinear, bicubic", "std must be above 0"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_number_of_channels_is_refused():
    with pytest.raises(errors.UserError, match="3 channels, not 1 and 3"):
        preprocessing.Preprocessing(
            image_size=8,
            interpolation="bilinear",
            mean=(0.0,),
            std=(1.0, 1.0, 1.0),
        )
