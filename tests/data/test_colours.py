import numpy as np
import pytest

from jaxall.data import colours, transforms


class Fixed:
    """A generator that always answers with one number."""

    def __init__(self, value):
        self.value = value

    def uniform(self, low, high):
        assert low <= self.value <= high
        return self.value


def noise(*shape, low=0, high=256):
    return np.random.default_rng(0).integers(low, high, shape, np.uint8)


def photo(height=64, width=96):
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 9 + phase) + np.cos(y / 7 - phase) for phase in (0.0, 1.0, 2.0)]
    return (np.stack(waves, axis=-1) * 60 + 128).astype(np.uint8)


def smear(height=64, width=96):
    """Violet on pale pink, as a stained smear is."""
    y, x = np.mgrid[0:height, 0:width]
    share = ((x - 40) ** 2 + (y - 30) ** 2 < 400)[..., np.newaxis]
    return np.where(share, (110, 60, 140), (230, 200, 215)).astype(np.uint8)


GREYS = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=-1)
PICTURES = (photo(), noise(31, 17, 3), noise(8, 8, 3, low=180), smear(), GREYS)


def apply(transform, image, generator):
    return transforms.apply([transform], image, generator)


@pytest.mark.parity
@pytest.mark.parametrize("turn", [-0.5, -0.3, -0.02, 0.0, 0.01, 0.25, 0.5])
def test_hue_agrees_with_torchvision_within_a_level(turn):
    both = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError)
    for image in PICTURES:
        tensor = both.torch.from_numpy(image.transpose(2, 0, 1).copy())
        turned = both.torchvision.transforms.functional.adjust_hue(tensor, turn)
        expected = turned.numpy().transpose(1, 2, 0).astype(int)
        result = apply(transforms.Hue(strength=0.5), image, Fixed(turn))
        assert np.abs(result - expected).max() <= 1


@pytest.mark.parity
@pytest.mark.parametrize("factor", [0.0, 0.5, 0.9, 0.97, 1.0, 1.04, 1.1, 1.5, 2.0])
def test_saturation_agrees_with_torchvision_within_a_level(factor):
    both = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError)
    for image in PICTURES:
        # on floats: on integers torchvision cuts the decimals of grey and of the result
        tensor = both.torch.from_numpy(image.transpose(2, 0, 1) / 255)
        mixed = both.torchvision.transforms.functional.adjust_saturation(tensor, factor)
        expected = 255 * mixed.numpy().transpose(1, 2, 0)
        result = apply(transforms.Saturation(strength=1.0), image, Fixed(factor))
        assert np.abs(result - expected).max() <= 0.55


@pytest.mark.parity
@pytest.mark.parametrize("exponent", [0.5, 0.8, 1.0, 1.25, 2.0])
def test_gamma_agrees_with_torchvision_within_a_level(exponent):
    both = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError)
    for image in PICTURES:
        tensor = both.torch.from_numpy(image.transpose(2, 0, 1).copy())
        bent = both.torchvision.transforms.functional.adjust_gamma(tensor, exponent)
        expected = bent.numpy().transpose(1, 2, 0).astype(int)
        drawn = Fixed(np.log2(exponent))
        assert np.abs(apply(transforms.Gamma(strength=1.0), image, drawn) - expected).max() <= 1


def test_gamma_rounds_its_definition_to_nearest_and_keeps_black_and_white():
    result = apply(transforms.Gamma(strength=0.5), GREYS, Fixed(-1.0))
    expected = np.rint(255 * (GREYS / 255.0) ** (1 / 1.5))
    np.testing.assert_array_equal(result, expected)
    assert result.min() == 0 and result.max() == 255


def test_a_third_of_the_circle_changes_the_places_of_the_channels():
    image = noise(9, 9, 3)
    result = apply(transforms.Hue(strength=0.5), image, Fixed(1 / 3))
    np.testing.assert_array_equal(result, np.roll(image, 1, axis=-1))


@pytest.mark.parametrize(
    "transform", [transforms.Hue(strength=0.5), transforms.Saturation(strength=1.0)]
)
@pytest.mark.parametrize("value", [0.13, 0.49])
def test_grey_has_no_hue_and_no_saturation(transform, value):
    drawn = Fixed(value if isinstance(transform, transforms.Hue) else 1 + value)
    np.testing.assert_array_equal(apply(transform, GREYS, drawn), GREYS)


def test_without_saturation_all_is_luma():
    image = noise(9, 9, 3)
    luma = image @ np.array([0.299, 0.587, 0.114])
    result = apply(transforms.Saturation(strength=1.0), image, Fixed(0.0))
    assert np.abs(result - luma[..., np.newaxis]).max() <= 0.5 + 1e-4


def jittered(image, a, b):
    """Pixel by pixel and stain by stain: solves for the amounts, changes them, adds up the dyes."""
    dyes = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
    dyes = dyes / np.sqrt((dyes**2).sum(1))[:, np.newaxis]
    result = np.empty(image.shape)
    for place in np.ndindex(image.shape[:2]):
        density = -np.log10((image[place] + 1.0) / 256)
        amounts = np.linalg.solve(dyes.T, density)
        changed = sum((1 + a[k]) * amounts[k] * dyes[k] + b[k] * dyes[k] for k in range(3))
        result[place] = 256 * 10**-changed - 1
    return np.clip(result, 0, 255)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("strength", [0.02, 0.2, 1.0])
def test_stain_jitter_changes_the_amount_of_each_stain(strength, seed):
    drawn = int(np.random.default_rng(seed).integers(2**64, dtype=np.uint64))
    a, b = np.random.default_rng(drawn).uniform(-strength, strength, (2, 3))
    for image in (noise(12, 9, 3), smear(20, 20), GREYS):
        result = apply(
            transforms.StainJitter(strength=strength), image, np.random.default_rng(seed)
        )
        assert np.abs(result - jittered(image, a, b)).max() <= 0.51


def test_stain_jitter_of_no_change_to_speak_of_gives_every_colour_back():
    every = np.stack(np.meshgrid(*[np.arange(0, 256, 5)] * 3), axis=-1).reshape(52, -1, 3)
    image = every.astype(np.uint8)
    transform = transforms.StainJitter(strength=1e-6)
    np.testing.assert_array_equal(apply(transform, image, np.random.default_rng(0)), image)


def test_the_stains_are_independent():
    assert np.linalg.cond(colours.STAINS) < 10


def test_gamma_makes_brighter_as_often_as_darker():
    image = np.full((1, 1, 3), 128, np.uint8)
    generator = np.random.default_rng(1)
    levels = np.array(
        [int(apply(transforms.Gamma(), image, generator)[0, 0, 0]) for _ in range(600)]
    )
    assert abs((levels > 128).mean() - 0.5) < 0.07
    least, most = (255 * (128 / 255) ** exponent for exponent in (1.2, 1 / 1.2))
    assert levels.min() in (int(least), int(least) + 1)
    assert levels.max() in (int(most), int(most) + 1)
