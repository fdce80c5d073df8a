import dataclasses

import cv2
import numpy as np
import pytest

from jaxall.data import chance, fusing, transforms


def generator(seed=0):
    return np.random.default_rng(seed)


def noise(*shape):
    return generator().integers(0, 256, shape, np.uint8)


def once(transform, image, seed=0):
    return transforms.apply([transform], image, generator(seed))


def ramps(side):
    """Red grows to the right, green downwards, two levels a pixel."""
    y, x = np.mgrid[0:side, 0:side] * 2
    return np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)


def test_a_fork_moves_its_parent_on_by_one_number_whatever_is_drawn_from_it():
    used, reference = generator(), generator()
    first = chance.fork(used)
    first.random(100)
    reference.random()
    assert used.random() == reference.random()
    assert chance.fork(generator()).random() == chance.fork(generator()).random()
    assert chance.fork(used).random() != chance.fork(reference).random(2)[1]


@pytest.mark.parametrize("seed", range(20))
def test_a_crop_enlarges_a_square_window_that_lies_inside(seed):
    side = 101
    image = ramps(side)
    crop = once(transforms.RandomCrop(smallest=0.6), image, seed).astype(float)
    for channel, axis in ((0, 1), (1, 0)):
        values = crop[..., channel].mean(1 - axis)
        start, stop = values[0] / 2, values[-1] / 2  # in pixels of the source
        assert 0 <= start < stop <= side - 1
        share = (stop - start) / (side - 1)
        assert 0.59 <= share <= 1
        np.testing.assert_allclose(values / 2, np.linspace(start, stop, side), atol=0.5)
    spans = crop[-1, -1, :2] - crop[0, 0, :2]
    assert abs(spans[0] - spans[1]) <= 2, "one scale for both directions"


def test_crops_are_of_every_size_and_at_every_place():
    found = []
    for seed in range(400):
        crop = once(transforms.RandomCrop(smallest=0.5), ramps(101), seed).astype(float) / 200
        found.append((crop[0, -1, 0] - crop[0, 0, 0], crop[0, 0, 0], crop[0, 0, 1]))
    share, left, top = np.array(found).T
    assert share.min() < 0.53 and share.max() > 0.97
    assert abs(share.mean() - 0.75) < 0.03
    wide = share < 0.9
    for start in (left, top):
        place = start[wide] / (1 - share[wide])
        assert place.min() < 0.1 and place.max() > 0.9 and abs(place.mean() - 0.5) < 0.05
    assert abs(np.corrcoef(left[wide] / (1 - share[wide]), top[wide])[0, 1]) < 0.2


@pytest.mark.parametrize("border", ["black", "white"])
def test_a_crop_between_turns_takes_their_border(border):
    image = np.full((41, 41, 3), 100, np.uint8)
    turn = transforms.Rotate(degrees=180.0, border=border)
    alone = once(transforms.RandomCrop(smallest=0.3), image)
    assert (alone == 100).all(), "nothing from outside comes in"
    turned = transforms.apply([turn, transforms.RandomCrop()], image, generator(1))
    assert set(turned[0, 0].tolist()) <= {0, 100, 255}


@pytest.mark.parametrize("border", fusing.BORDERS)
def test_turn_shift_crop_and_flip_are_one_warp(monkeypatch, border):
    calls, warp = [], cv2.warpAffine

    def count(*arguments, **settings):
        calls.append(arguments)
        return warp(*arguments, **settings)

    monkeypatch.setattr(cv2, "warpAffine", count)
    moves = [
        transforms.Rotate(degrees=180.0, border=border),
        transforms.Shift(strength=0.2, border=border),
        transforms.FlipHorizontal(probability=1.0),
        transforms.RandomCrop(),
    ]
    transforms.apply(moves, noise(32, 32, 3), generator(3))
    assert len(calls) == 1
    transforms.apply(moves[:2], noise(32, 32, 3), generator(3))
    assert len(calls) == 2


@pytest.mark.parametrize("seed", range(10))
def test_a_shift_moves_whole_pixels_and_fills_the_border(seed):
    height, width, reach = 30, 40, 0.2
    image = noise(height, width, 3)
    shift = transforms.Shift(strength=reach, border="white")
    right, down = shift.draw(generator(seed), height, width).matrix[:2, 2].astype(int)
    assert abs(right) <= reach * width and abs(down) <= reach * height
    expected = np.full_like(image, 255)
    to = np.s_[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    source = np.s_[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
    expected[to] = image[source]
    np.testing.assert_array_equal(once(shift, image, seed), expected)
    mirrored = once(dataclasses.replace(shift, border="reflect"), image, seed)
    np.testing.assert_array_equal(mirrored[to], image[source])


def test_shifts_fill_their_range_in_both_directions_independently():
    shift = transforms.Shift(strength=0.1)
    moved = np.array([shift.draw(generator(seed), 200, 100).matrix[:2, 2] for seed in range(400)])
    np.testing.assert_array_equal(np.abs(moved).max(0), (10, 20))
    assert np.abs(moved.mean(0) / (10, 20)).max() < 0.1
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.15
