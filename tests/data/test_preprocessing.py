import io
import json
import re

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from PIL import Image

from jaxall import errors
from jaxall.data import decoding, preprocessing

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


sides = st.integers(1, 40)
quick = hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)


def settings(image_size=32, interpolation="bilinear", normalisation="imagenet", **region):
    return preprocessing.Preprocessing.for_model(
        image_size, interpolation, **IMAGENET, normalisation=normalisation, **region
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
    for wanted in (
        settings(300, "bicubic"),
        settings(crop=300, mask=(0.25, 0.125), greyscale=True),
    ):
        restored = preprocessing.Preprocessing.from_json(json.loads(json.dumps(wanted.to_json())))
        assert restored == wanted


def test_json_of_a_run_from_before_a_setting_was_there_has_its_default():
    values = settings().to_json()
    for name in ("crop", "mask", "greyscale"):
        del values[name]
    assert preprocessing.Preprocessing.from_json(values) == settings()


def test_json_with_missing_or_unknown_fields_is_refused():
    values = settings().to_json()
    del values["std"]
    with pytest.raises(errors.UserError, match=r"'std'\], not"):
        preprocessing.Preprocessing.from_json(values)
    with pytest.raises(errors.UserError, match="zoom"):
        preprocessing.Preprocessing.from_json({**settings().to_json(), "zoom": 1})


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


@quick
@hypothesis.given(
    height=sides,
    width=sides,
    size=sides,
    crop=st.integers(0, 40),
    mask=st.just((0.0, 0.0)) | st.tuples(*[st.floats(0.01, 0.5)] * 2),
    greyscale=st.booleans(),
)
def test_whatever_is_chosen_the_input_has_its_size_and_the_picture_stays(
    height, width, size, crop, mask, greyscale
):
    image = noise(height, width, 3)
    before = image.copy()
    chosen = settings(size, crop=crop, mask=mask, greyscale=greyscale)
    result = chosen.resize(image)
    assert result.shape == (size, size, 3) and result.dtype == np.uint8
    assert result.flags.c_contiguous and result.flags.writeable
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(chosen.load(png(image)), result)


@pytest.mark.parity
@quick
@hypothesis.given(height=sides, width=sides, crop=sides)
def test_crop_equals_torchvision_bit_for_bit_and_resizes_nothing(height, width, crop):
    torchvision = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError).torchvision
    image = noise(height, width, 3)
    expected = torchvision.transforms.functional.center_crop(Image.fromarray(image), [crop, crop])
    np.testing.assert_array_equal(settings(crop, crop=crop).resize(image), np.array(expected))


def test_crop_takes_the_middle_at_its_own_scale():
    image = noise(48, 96, 3)
    np.testing.assert_array_equal(settings(20, crop=20).resize(image), image[14:34, 38:58])
    halved = settings(10).resize(np.ascontiguousarray(image[14:34, 38:58]))
    np.testing.assert_array_equal(settings(10, crop=20).resize(image), halved)


def test_a_picture_smaller_than_the_crop_is_laid_on_black_and_not_enlarged():
    image = noise(10, 6, 3) // 2 + 100
    result = settings(20, crop=20).resize(image)
    np.testing.assert_array_equal(result[5:15, 7:13], image)
    assert np.count_nonzero(result) == image.size


@pytest.mark.parametrize("mask", [(0.25, 0.125), (0.5, 0.5), (0.03, 0.03)])
def test_the_masked_corner_has_the_mean_colour_of_its_surroundings(mask):
    image = noise(32, 32, 3)
    result = settings(32, mask=mask).resize(image)
    width, height = round(32 * mask[0]), round(32 * mask[1])
    top, left = 32 - height, 32 - width
    expected = image.copy()
    ring = np.zeros((32, 32), bool)
    ring[top - 1 :, left - 1 :] = True
    ring[top:, left:] = False
    expected[top:, left:] = np.rint(image[ring].mean(0))
    np.testing.assert_array_equal(result, expected)


def test_nothing_of_what_the_mask_covers_can_be_told():
    first, second = np.full((64, 64, 3), 120, np.uint8), np.full((64, 64, 3), 120, np.uint8)
    second[56:, 48:] = 255  # the scale bar
    chosen = settings(64, mask=(0.3, 0.2))
    np.testing.assert_array_equal(chosen.resize(second), chosen.resize(first))


def test_a_mask_of_less_than_half_a_pixel_covers_one():
    image = noise(32, 32, 3)
    result = settings(32, mask=(0.01, 0.01)).resize(image)
    assert np.argwhere((result != image).any(-1)).tolist() == [[31, 31]]


def test_greyscale_is_luma_in_all_channels():
    image = noise(32, 32, 3)
    result = settings(32, greyscale=True).resize(image)
    luma = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(result - luma[..., np.newaxis]).max() <= 0.51
    assert (result == result[..., :1]).all()


@pytest.mark.parity
def test_greyscale_equals_torchvision_bit_for_bit():
    torchvision = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError).torchvision
    image = noise(32, 32, 3)
    expected = torchvision.transforms.functional.to_grayscale(Image.fromarray(image), 3)
    np.testing.assert_array_equal(settings(32, greyscale=True).resize(image), np.array(expected))


@pytest.mark.parametrize(
    ("region", "line"),
    [
        ({"crop": -1}, "crop is 0 or a size in pixels; got -1"),
        ({"crop": 40_000}, "crop is at most 9,459 pixels; got 40000"),
        ({"image_size": 3_000_000_000}, "image_size is at most 9,459 pixels; got 3000000000"),
        *(
            (
                {"mask": mask},
                "mask is two shares, of the width and of the height, both 0 or both above 0 and "
                f"at most 0.5; got {mask}",
            )
            for mask in ((0.2, 0.0), (0.2, 0.6), (-0.1, 0.1), (0.1,), (0.1, float("nan")))
        ),
    ],
)
def test_an_impossible_region_is_refused_in_the_config_and_in_the_run(region, line):
    with pytest.raises(errors.UserError) as caught:
        settings(**region)
    assert str(caught.value) == line
    with pytest.raises(errors.UserError) as caught:
        preprocessing.PreprocessingSettings(**region).validate()
    assert str(caught.value) == f"preprocessing.{line}"
    with pytest.raises(errors.UserError, match=re.escape(line)):
        preprocessing.Preprocessing.from_json({**settings().to_json(), **region})
