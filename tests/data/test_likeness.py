import cv2
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from jaxall.data import likeness, looking

SIDE = 16


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def cell(seed: int, size: int = 300) -> np.ndarray:
    """A blotchy round cell cut out on black, uint8 [S,S,3]: a disc, as is every other."""
    generator = np.random.default_rng(seed)
    blotches = generator.uniform(0.4, 1.0, (14, 14)).astype(np.float32)
    texture = cv2.resize(blotches, (size, size), interpolation=cv2.INTER_CUBIC).clip(0.2, 1.2)
    y, x = np.mgrid[:size, :size] - size / 2 + 0.5
    disc = np.hypot(y * generator.uniform(0.95, 1.05), x) < 0.3 * size
    return np.where(disc[..., None], texture[..., None] * (130, 60, 150), 0).astype(np.uint8)


def content(image: np.ndarray) -> np.ndarray:
    return looking.shrunk(looking.content(np.ascontiguousarray(image)), SIDE)


def test_positions_are_the_eight_of_the_square_and_each_is_undone():
    image = noise(1)
    places = [likeness.moved(image, position) for position in range(8)]
    assert len({place.tobytes() for place in places}) == 8
    for position, place in enumerate(places):
        back = likeness.moved(place, int(likeness.BACK[position]))
        np.testing.assert_array_equal(back, image)


def test_a_hash_is_the_signs_of_opencvs_cosine_transform():
    images = noise(5)
    luma = images @ np.array([0.299, 0.587, 0.114])
    for image, hashed in zip(luma, likeness.hashes(images)[0], strict=True):
        low = cv2.dct(image - image.mean())[:8, :8].ravel()[1:]
        np.testing.assert_array_equal(hashed, np.sign(low))


@hypothesis.given(strategies.integers(0, 2**32 - 1), strategies.integers(0, 7))
@hypothesis.settings(max_examples=40, deadline=None)
def test_a_copy_is_found_in_every_position(seed: int, position: int):
    image = noise(1, seed)
    pairs = likeness.find(np.concatenate([likeness.moved(image, position), image]), 0.999)
    assert (0, 1, position) in zip(pairs.first, pairs.second, pairs.position, strict=True)


def test_a_correlation_is_numpys_of_each_channel_about_its_mean():
    first, second = noise(2)
    centred = [image - image.mean(axis=(0, 1)) for image in (first, second)]
    expected = np.corrcoef(centred[0].ravel(), centred[1].ravel())[0, 1]
    assert likeness.correlations(first[None], second[None]) == pytest.approx(expected)


def test_a_common_stain_is_no_likeness():
    images = noise(2) // 8 + np.array([90, 20, 140], np.uint8)
    assert np.corrcoef(*images.reshape(2, -1))[0, 1] > 0.95
    assert abs(likeness.correlations(images[:1], images[1:])[0]) < 0.3


def test_different_cells_on_black_are_not_joined_though_their_thumbnails_correlate():
    cells = [cell(seed) for seed in range(40)]
    plain = np.corrcoef([looking.shrunk(image, SIDE).ravel() for image in cells])
    assert np.median(plain) > 0.9
    assert len(likeness.find(np.array([content(image) for image in cells]), 0.8).first) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda image: np.roll(image, (31, -22), (0, 1)),
        lambda image: (image * 0.85).astype(np.uint8),
        lambda image: cv2.resize(image, (210, 210), interpolation=cv2.INTER_AREA),
        lambda image: cv2.GaussianBlur(image, (5, 5), 0),
        lambda image: np.rot90(image, 3),
        lambda image: image[::-1],
    ],
    ids=["moved", "darker", "smaller", "blurred", "turned", "mirrored"],
)
def test_another_picture_of_the_same_cell_is_found_and_no_other(change):
    cells = [cell(seed) for seed in range(20)]
    contents = [content(image) for image in cells] + [content(change(image)) for image in cells]
    pairs = likeness.find(np.array(contents), 0.8)
    np.testing.assert_array_equal(pairs.first, np.arange(20)[np.argsort(pairs.first)])
    np.testing.assert_array_equal(pairs.second, pairs.first + 20)


def test_a_corner_in_common_is_no_likeness_of_silhouettes():
    images = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    images[:, :8, :8] = noise(1)[0, :8, :8]
    images[0, 8:, 8:] = noise(1, 1)[0, 8:, 8:]
    assert likeness.correlations(images[:1], images[1:])[0] == 0
    assert likeness.correlations(images[:1], images[:1])[0] == pytest.approx(1.0)


@pytest.mark.parametrize("value", [0, 7, 130, 255])
def test_pictures_of_one_colour_are_like_nothing(value: int):
    images = np.full((3, SIDE, SIDE, 3), value, np.uint8)
    assert not likeness.hashes(images).any()
    assert len(likeness.find(images, 0.1).first) == 0


def test_pairs_are_found_across_blocks(monkeypatch):
    images = noise(23)
    images[[20, 9]] = images[[1, 8]]
    whole = likeness.find(images, 0.8)
    monkeypatch.setattr(likeness, "_BLOCK", 4)
    monkeypatch.setattr(likeness, "_PAIRS", 1)
    parts = likeness.find(images, 0.8)
    for pairs in (whole, parts):
        assert sorted(zip(pairs.first, pairs.second, strict=True)) == [(1, 20), (8, 9)]
        assert pairs.position.tolist() == [0, 0]


def test_pairs_seen_from_the_other_picture_are_moved_back():
    image = noise(1)
    pairs = likeness.find(np.concatenate([image, likeness.moved(image, 1)]), 0.9).both_ways()
    assert pairs.first.tolist() == [0, 1] and pairs.second.tolist() == [1, 0]
    assert pairs.position.tolist() == [3, 1]


def test_no_pictures_have_no_pairs():
    assert len(likeness.find(noise(0), 0.8).first) == 0
