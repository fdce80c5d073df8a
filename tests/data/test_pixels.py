import numpy as np
import pytest
from PIL import Image, ImageFilter

from jaxall.data import transforms


class Fixed:
    """A generator that always answers with one number."""

    def __init__(self, value):
        self.value = value

    def uniform(self, low, high):
        assert low <= self.value <= high
        return self.value


def once(transform, image, seed=0):
    return transforms.apply([transform], image, np.random.default_rng(seed))


def noise(*shape, low=0, high=256):
    return np.random.default_rng(0).integers(low, high, shape, np.uint8)


@pytest.mark.parametrize("share", [0.01, 0.02, 0.05])
def test_blur_is_the_gaussian_of_its_definition(share):
    image = noise(64, 48, 3)
    result = transforms.apply([transforms.Blur(strength=0.1)], image, Fixed(share))
    sigma = share * 48
    reach = int(5 * sigma) + 1
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    expected = image.astype(float)
    for axis in (0, 1):
        widths = [(reach, reach) if place == axis else (0, 0) for place in range(3)]
        padded = np.pad(expected, widths, mode="reflect")
        expected = np.apply_along_axis(np.convolve, axis, padded, weights, "valid")
    assert np.abs(result - expected).max() <= 2


def test_the_same_setting_blurs_a_larger_picture_by_more_pixels():
    def spread(side):
        image = np.zeros((side, side, 3), np.uint8)
        image[:, side // 2 :] = 255
        result = transforms.apply([transforms.Blur(strength=0.1)], image, Fixed(0.05))
        return int(((result[0, :, 0] > 20) & (result[0, :, 0] < 235)).sum()) / side

    assert spread(60) == pytest.approx(spread(240), abs=0.02)


def test_blur_agrees_with_pillow_in_the_middle():
    y, x = np.mgrid[0:80, 0:80]
    waves = [np.sin(x / 3 + phase) + np.cos(y / 4 - phase) for phase in (0.0, 1.0, 2.0)]
    image = (np.stack(waves, axis=-1) * 60 + 128).astype(np.uint8)
    result = transforms.apply([transforms.Blur(strength=0.1)], image, Fixed(0.025))
    # Pillow's is of three boxes
    expected = np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(2.0)))
    middle = np.s_[10:-10, 10:-10]
    assert np.abs(result[middle].astype(int) - expected[middle]).max() <= 4


def test_noise_has_the_deviation_drawn_and_no_mean():
    image = np.full((200, 200, 3), 128, np.uint8)
    deviations = []
    for seed in range(30):
        added = once(transforms.Noise(strength=0.1), image, seed).astype(float) - 128
        deviations.append(added.std())
        assert abs(added.mean()) < 0.3
        flat = (added / max(added.std(), 1)).reshape(-1, 3)
        assert np.abs(np.corrcoef(flat.T) - np.eye(3)).max() < 0.02, "channels are independent"
        assert abs(np.corrcoef(flat[:-1, 0], flat[1:, 0])[0, 1]) < 0.02, "and so are pixels"
    assert max(deviations) <= 25.6 and max(deviations) > 20 and min(deviations) < 5


def test_noise_is_normal():
    image = np.full((300, 300, 3), 128, np.uint8)
    drawn = max(
        (once(transforms.Noise(strength=0.1), image, seed) for seed in range(8)), key=np.std
    )
    added = (drawn.astype(float) - 128) / (drawn.astype(float) - 128).std()
    for share, quantile in ((0.0228, -2), (0.1587, -1), (0.5, 0), (0.8413, 1), (0.9772, 2)):
        assert (added < quantile).mean() + (added == quantile).mean() / 2 == pytest.approx(
            share, abs=0.012
        )


def test_noise_is_clipped_and_not_wrapped():
    for value in (0, 255):
        image = np.full((40, 40, 3), value, np.uint8)
        added = once(transforms.Noise(strength=0.1), image).astype(int) - value
        assert np.abs(added).max() < 90
        assert (added == 0).mean() > 0.4


def test_a_cutout_is_one_square_of_the_mean_colour():
    image = noise(40, 60, 3, low=100)
    image[..., 0] //= 2
    sides, places = [], []
    for seed in range(60):
        covered = once(transforms.Cutout(strength=0.5), image, seed)
        mean = np.rint(image.mean((0, 1)))
        is_covered = (covered == mean).all(-1)
        changed = (covered != image).any(-1)
        assert (is_covered | ~changed).all()
        if not changed.any():
            continue
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert height == width <= 20
        assert is_covered[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        sides.append(height)
        places.append((rows[0], columns[0]))
    assert min(sides) <= 2 and max(sides) >= 18
    assert min(place[1] for place in places) < 10 and max(place[1] for place in places) > 40


def test_a_cutout_leaves_the_mean_of_the_picture_nearly_as_it_is():
    image = noise(50, 50, 3)
    covered = once(transforms.Cutout(strength=1.0), image, 5)
    assert (covered != image).any()
    assert np.abs(covered.mean((0, 1)) - image.mean((0, 1))).max() < 4
