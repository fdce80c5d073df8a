import cv2
import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import pytest

from jaxall.data import fusing

images = hypothesis.extra.numpy.arrays(
    np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))
)
factors = st.floats(0, 2)
quick = hypothesis.settings(max_examples=40, deadline=None, derandomize=True, database=None)


def noise(*shape, low=0, high=256):
    return np.random.default_rng(0).integers(low, high, shape, np.uint8)


def turn(image, degrees, border="black"):
    height, width = image.shape[:2]
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return fusing.Warp(matrix, border)


def flip(image, *, across, down):
    return fusing.Warp(fusing.mirrored(*image.shape[:2], across=across, down=down))


def warped(image, matrix, border="black"):
    mode, value = fusing.BORDERS[border]
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(image, matrix[:2], size, borderMode=mode, borderValue=(value,) * 3)


def brighten(factor):
    return fusing.Tone(lambda values, grey: factor * values)


def stretch(factor):
    return fusing.Tone(lambda values, grey: grey() + factor * (values - grey()))


def stretched(image, factor, grey):
    return np.clip(grey + factor * (image - grey), 0, 255)


def luma(image):
    return float(np.mean(image @ np.array(fusing.LUMA)))


def test_nothing_to_do_gives_the_picture_itself():
    image = noise(4, 5, 3)
    assert fusing.apply([], image) is image
    assert fusing.apply([flip(image, across=False, down=False)], image) is image
    twice = [flip(image, across=True, down=True)] * 2
    assert fusing.apply(twice, image) is image
    assert fusing.apply([turn(image, 0.0)], image) is image


@quick
@hypothesis.given(image=images, swaps=st.lists(st.tuples(st.booleans(), st.booleans())))
def test_flips_of_any_number_and_order_move_pixels_exactly(image, swaps):
    expected, before = image, image.copy()
    for across, down in swaps:
        expected = np.flip(expected, [axis for axis, swap in ((1, across), (0, down)) if swap])
    warps = [flip(image, across=across, down=down) for across, down in swaps]
    result = fusing.apply(warps, image)
    np.testing.assert_array_equal(result, expected)
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("border", fusing.BORDERS)
@quick
@hypothesis.given(image=images, degrees=st.tuples(st.floats(-180, 180), st.floats(-180, 180)))
def test_a_run_of_warps_is_one_warp_by_the_product_of_their_matrices(border, image, degrees):
    first, second = (turn(image, angle, border) for angle in degrees)
    middle = flip(image, across=True, down=False)
    # moved by a fraction of a pixel, so that it is never a mere flip
    last = fusing.Warp(np.array([[1, 0, 0.25], [0, 1, 0.5], [0, 0, 1]]), border)
    product = last.matrix @ second.matrix @ middle.matrix @ first.matrix
    result = fusing.apply([first, middle, second, last], image)
    np.testing.assert_array_equal(result, warped(image, product, border))


def test_a_turn_and_its_inverse_give_the_picture_back_corners_included():
    image = noise(32, 32, 3)
    back = fusing.apply([turn(image, 30.0), turn(image, -30.0)], image)
    one_by_one = fusing.apply([turn(image, -30.0)], fusing.apply([turn(image, 30.0)], image))
    assert np.abs(back.astype(int) - image).max() <= 1
    assert not one_by_one[0, 0].any()


@pytest.mark.parametrize("is_flipped_between", [False, True])
def test_another_border_begins_another_warp(is_flipped_between):
    image = np.full((41, 41, 3), 100, np.uint8)
    white, black = turn(image, 45.0, "white"), turn(image, 10.0, "black")
    between = [flip(image, across=True, down=False)] if is_flipped_between else []
    matrix = between[0].matrix @ white.matrix if between else white.matrix
    expected = warped(warped(image, matrix, "white"), black.matrix, "black")
    np.testing.assert_array_equal(fusing.apply([white, *between, black], image), expected)
    assert {0, 100, 255} <= set(expected.ravel().tolist())


def test_a_shift_by_whole_pixels_fills_the_border():
    image = noise(4, 5, 3)
    shift = fusing.Warp(np.array([[1.0, 0, 2], [0, 1, 1], [0, 0, 1]]), "white")
    result = fusing.apply([shift], image)
    np.testing.assert_array_equal(result[1:, 2:], image[:-1, :-2])
    assert (result[0] == 255).all() and (result[:, :2] == 255).all()


@quick
@hypothesis.given(image=images, factor=factors)
def test_a_tone_rounds_its_definition_to_nearest(image, factor):
    expected = np.rint(np.clip(factor * image.astype(float), 0, 255))
    np.testing.assert_array_equal(fusing.apply([brighten(factor)], image), expected)
    # a hair's breadth from a half the order of summing decides
    exact = stretched(image, factor, luma(image))
    assert np.abs(fusing.apply([stretch(factor)], image) - exact).max() <= 0.5 + 1e-9


@quick
@hypothesis.given(image=images, first=factors, second=factors, third=factors)
def test_a_run_of_tones_rounds_once(image, first, second, third):
    exact = np.clip(first * image.astype(float), 0, 255)
    exact = stretched(exact, second, luma(exact))
    exact = np.clip(third * exact, 0, 255)
    before = image.copy()
    result = fusing.apply([brighten(first), stretch(second), brighten(third)], image)
    assert result.dtype == np.uint8
    assert np.abs(result - exact).max() <= 0.5 + 1e-9
    np.testing.assert_array_equal(image, before)


@quick
@hypothesis.given(image=images, first=factors, second=factors)
def test_one_after_the_other_differs_by_the_roundings_on_the_way(image, first, second):
    tones = [brighten(first), stretch(second)]
    one_by_one = fusing.apply(tones[1:], fusing.apply(tones[:1], image))
    # the first rounding moves a value and the mean by half a level at most, then both round
    bound = 0.5 * (second + abs(1 - second)) + 1
    difference = np.abs(fusing.apply(tones, image).astype(int) - one_by_one)
    assert difference.max() <= bound


@quick
@hypothesis.given(image=images)
def test_a_tone_may_treat_the_channels_differently(image):
    weights = np.array([0.5, 1.0, 1.5])
    seen = []

    def measure(values, grey):
        seen.append(grey())
        return values

    tones = [fusing.Tone(lambda values, grey: values * weights), fusing.Tone(measure)]
    exact = np.clip(image * weights, 0, 255)
    np.testing.assert_array_equal(fusing.apply(tones, image), np.rint(exact))
    assert seen == [pytest.approx(luma(exact))]


def test_kinds_take_turns_in_their_order():
    image = noise(6, 8, 3, low=60)
    square = fusing.Pixels(lambda x: np.where(np.arange(8)[:, np.newaxis] < 2, np.uint8(0), x))
    swap = flip(image, across=True, down=False)
    result = fusing.apply([square, swap, brighten(0.5), square, swap], image)
    expected = np.rint(image * 0.5)
    expected[:, :2] = expected[:, -2:] = 0
    np.testing.assert_array_equal(result, expected)
