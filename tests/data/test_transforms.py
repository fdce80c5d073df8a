import dataclasses
import itertools

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image

from jaxall import config, errors
from jaxall.data import fusing, transforms

EVERY = pytest.mark.parametrize("transform_class", transforms.by_name.values())
STRONG = [
    kind
    for kind in transforms.by_name.values()
    if "strength" in {field.name for field in dataclasses.fields(kind)}
]
IDENTITIES = (
    transforms.Rotate(degrees=0.0),
    transforms.FlipHorizontal(probability=0.0),
    transforms.FlipVertical(probability=0.0),
    transforms.RandomCrop(smallest=1.0),
    *(kind(strength=0.0) for kind in STRONG),
)
STRONGEST = (
    transforms.Rotate(degrees=180.0),
    transforms.FlipHorizontal(probability=1.0),
    transforms.FlipVertical(probability=1.0),
    transforms.RandomCrop(smallest=0.1),
    *(kind(strength=transforms.limits(kind.__name__, "strength")[1]) for kind in STRONG),
)
images = hypothesis.extra.numpy.arrays(
    np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))
)
seeds = st.integers(0, 2**32 - 1)
quick = hypothesis.settings(max_examples=40, deadline=None, derandomize=True, database=None)


def generator(seed=0):
    return np.random.default_rng(seed)


def noise(*shape, low=0, high=256):
    return generator().integers(low, high, shape, np.uint8)


def once(transform, image, state=None):
    return transforms.apply([transform], image, generator() if state is None else state)


class Fixed:
    """A generator that always answers with one number."""

    def __init__(self, value):
        self.value = value

    def uniform(self, low, high):
        assert low <= self.value <= high
        return self.value


def rotate(image, degrees, border):
    return once(transforms.Rotate(degrees=180.0, border=border), image, Fixed(degrees))


def brighten(image, factor):
    return once(transforms.Brightness(strength=1.0), image, Fixed(factor))


def stretch_contrast(image, factor):
    return once(transforms.Contrast(strength=1.0), image, Fixed(factor))


def photo(height=64, width=96):
    """Smooth, as photographs are: bilinear errors stay small."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 9 + phase) + np.cos(y / 7 - phase) for phase in (0.0, 1.0, 2.0)]
    return (np.stack(waves, axis=-1) * 60 + 128).astype(np.uint8)


@pytest.mark.parametrize("transform", STRONGEST)
@quick
@hypothesis.given(image=images, seed=seeds)
def test_shape_and_type_stay_and_the_input_is_not_written_to(transform, image, seed):
    before = image.copy()
    result = once(transform, image, generator(seed))
    assert result.shape == image.shape and result.dtype == np.uint8
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("transform", IDENTITIES)
@quick
@hypothesis.given(image=images, seed=seeds)
def test_zero_strength_is_the_identity(transform, image, seed):
    np.testing.assert_array_equal(once(transform, image, generator(seed)), image)


def test_every_transform_is_among_the_weakest_and_the_strongest():
    for listed in (IDENTITIES, STRONGEST):
        assert {type(transform) for transform in listed} == set(transforms.by_name.values())


@EVERY
def test_the_same_generator_state_gives_the_same_picture(transform_class):
    image = noise(32, 40, 3)
    first, second = (once(transform_class(), image, generator(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@EVERY
def test_different_states_give_different_pictures(transform_class):
    image = noise(64, 80, 3, low=30, high=226)
    results = {once(transform_class(), image, generator(seed)).tobytes() for seed in range(20)}
    assert len(results) > 1


@pytest.mark.parametrize("transform", IDENTITIES + STRONGEST)
def test_each_transform_draws_exactly_one_number(transform):
    used, reference = generator(3), generator(3)
    once(transform, noise(8, 8, 3), used)
    reference.random()
    assert used.random() == reference.random()


@pytest.mark.parametrize(
    "between",
    [
        transforms.Rotate(degrees=0.0, border="black"),
        transforms.Shift(strength=0.0, border="black"),
        *IDENTITIES[1:4],
        *(kind(strength=0.0) for kind in STRONG if kind is not transforms.Shift),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_zero_strength_leaves_its_neighbours_alone(between):
    image = np.random.default_rng(5).integers(0, 256, (24, 24, 3), np.uint8)
    turn = transforms.Rotate(degrees=180.0)

    def run(*steps: transforms.Transform) -> np.ndarray:
        generator = np.random.default_rng(8)
        first, *rest = (step.draw(generator, 24, 24) for step in (turn, turn))
        middle = [step.draw(generator, 24, 24) for step in steps]
        return fusing.apply([first, *middle, *rest], image)

    np.testing.assert_array_equal(run(between), run())


@pytest.mark.parametrize("border", fusing.BORDERS)
@quick
@hypothesis.given(image=images)
def test_rotate_by_zero_is_the_identity(border, image):
    np.testing.assert_array_equal(rotate(image, 0.0, border), image)


@pytest.mark.parametrize("size", [8, 9])
def test_rotate_by_a_right_angle_turns_counter_clockwise_about_the_centre(size):
    image = noise(size, size, 3)
    np.testing.assert_array_equal(rotate(image, 90.0, "black"), np.rot90(image))
    np.testing.assert_array_equal(rotate(image, 180.0, "black"), image[::-1, ::-1])


def test_the_border_fills_the_corners():
    image = np.full((41, 41, 3), 100, np.uint8)
    corners = {border: rotate(image, 45.0, border)[0, 0].tolist() for border in fusing.BORDERS}
    assert corners == {"reflect": [100] * 3, "black": [0] * 3, "white": [255] * 3}


def test_the_reflected_border_mirrors_without_repeating_the_edge():
    image = noise(3, 5, 3)
    mirrored = np.pad(image, ((1, 1), (0, 0), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(rotate(image, 90.0, "reflect"), np.rot90(mirrored)[1:4])


def test_rotation_angles_fill_the_range():
    drawn = []

    class Recorder:
        def uniform(self, low, high):
            drawn.append((low, high))
            return 0.0

    once(transforms.Rotate(degrees=20.0), noise(4, 4, 3), Recorder())
    assert drawn == [(-20.0, 20.0)]


@pytest.mark.parity
@pytest.mark.parametrize("degrees", [-20.0, -7.3, 3.0, 20.0])
def test_rotate_agrees_with_torchvision_inside_the_frame(degrees):
    torchvision = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError).torchvision
    functional = torchvision.transforms.functional
    image = photo()
    expected = functional.rotate(
        Image.fromarray(image), degrees, functional.InterpolationMode.BILINEAR
    )
    result = rotate(image, degrees, "black")
    middle = np.s_[16:48, 24:72]
    difference = np.abs(result[middle].astype(int) - np.array(expected)[middle])
    assert difference.max() <= 2


@pytest.mark.parametrize("axis, flip", [(1, STRONGEST[1]), (0, STRONGEST[2])])
@quick
@hypothesis.given(image=images)
def test_a_flip_mirrors_and_twice_is_the_identity(axis, flip, image):
    flipped = once(flip, image)
    np.testing.assert_array_equal(flipped, np.flip(image, axis))
    np.testing.assert_array_equal(once(flip, flipped), image)


@pytest.mark.parametrize("flip", [transforms.FlipHorizontal, transforms.FlipVertical])
def test_flips_come_as_often_as_their_probability(flip):
    image, state = noise(2, 3, 3), generator(1)
    flipped = sum(once(flip(probability=0.3), image, state) is not image for _ in range(2000))
    assert 540 <= flipped <= 660  # 600, three standard deviations are 61


@pytest.mark.parity
@pytest.mark.parametrize("factor", [0.0, 0.5, 0.9, 0.97, 1.0, 1.04, 1.1, 1.5, 2.0])
@pytest.mark.parametrize("name", ["brightness", "contrast"])
def test_colours_agree_with_torchvision_within_a_level(name, factor):
    torchvision = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError).torchvision
    ours = {"brightness": brighten, "contrast": stretch_contrast}[name]
    theirs = getattr(torchvision.transforms.functional, f"adjust_{name}")
    for image in (photo(), noise(31, 17, 3), noise(8, 8, 3, low=180)):
        expected = np.array(theirs(Image.fromarray(image), factor)).astype(int)
        assert np.abs(ours(image, factor) - expected).max() <= 1


def test_brightness_rounds_to_nearest_and_clips():
    image = np.array([0, 1, 10, 100, 200, 255], np.uint8).reshape(1, 2, 3)
    result = brighten(image, 1.26)
    assert result.ravel().tolist() == [0, 1, 13, 126, 252, 255]


def test_contrast_keeps_grey_of_the_mean_and_moves_the_rest_away_from_it():
    image = np.array([[[50] * 3, [100] * 3, [150] * 3]], np.uint8)
    result = stretch_contrast(image, 1.5)
    assert result[0, :, 0].tolist() == [25, 100, 175]
    assert set(stretch_contrast(image, 0.0).ravel().tolist()) == {100}


@pytest.mark.parametrize("name", ["Brightness", "Contrast"])
def test_factors_stay_within_the_strength(name):
    image = np.array([[[100] * 3, [200] * 3]], np.uint8)
    state = generator(2)
    results = [once(transforms.by_name[name](strength=0.1), image, state) for _ in range(300)]
    spans = np.array([int(r[0, 1, 0]) - int(r[0, 0, 0]) for r in results])
    assert spans.min() in (90, 91) and spans.max() in (109, 110)


@pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
def test_colours_together_agree_with_one_by_one(order):
    image = photo()
    before = image.copy()
    colours = [(transforms.Brightness, transforms.Contrast)[place](strength=0.1) for place in order]
    together, state = transforms.apply(colours, image, generator(4)), generator(4)
    one_by_one = once(colours[1], once(colours[0], image, state), state)
    # a value between the two is rounded once less
    assert np.abs(together.astype(int) - one_by_one).max() <= 1
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_turns_and_flips_together_agree_with_one_by_one(order):
    image = photo(64, 64)
    every = (transforms.Rotate(), STRONGEST[1], STRONGEST[2])
    moves = [every[place] for place in order]
    together, state, one_by_one = transforms.apply(moves, image, generator(4)), generator(4), image
    for move in moves:
        one_by_one = once(move, one_by_one, state)
    # OpenCV places the pixels on a grid of 1/32
    assert np.abs(together.astype(int) - one_by_one).max() <= 2


def test_a_change_of_one_strength_leaves_the_other_draws_alone():
    image = noise(16, 16, 3)
    rotated = transforms.apply(
        [transforms.Brightness(strength=0.0), transforms.Rotate()], image, generator(4)
    )
    flipped = transforms.apply(
        [transforms.FlipVertical(probability=0.0), transforms.Rotate()], image, generator(4)
    )
    np.testing.assert_array_equal(rotated, flipped)


def test_apply_runs_in_order():
    image = photo()
    kinds = [transforms.Contrast(strength=1.0), transforms.Rotate(border="white")]
    first, second = generator(1), generator(1)
    whitened = transforms.apply(kinds[::-1], image, first)
    clean = once(kinds[0], once(kinds[1], image, second), second)
    np.testing.assert_array_equal(whitened, clean)
    assert not np.array_equal(whitened, transforms.apply(kinds, image, generator(1)))
    assert transforms.apply([], image, generator()) is image


@pytest.mark.parametrize("image", [noise(4, 4), noise(4, 4, 4), noise(4, 4, 3) / 255])
def test_apply_refuses_what_is_not_a_colour_picture(image):
    with pytest.raises(ValueError, match=r"uint8 \[H,W,3\]"):
        transforms.apply([], image, generator())


def test_the_registry_names_each_class_and_a_config_file_finds_it():
    for name, kind in transforms.by_name.items():
        assert kind.__name__ == name
        assert getattr(config, name) is kind and name in config.__all__


@EVERY
def test_every_setting_has_limits_that_hold(transform_class):
    for field in dataclasses.fields(transform_class):
        transform = transform_class()
        transforms.validate([transform])
        if field.name == "border":
            wrong = ["mirror"]
        else:
            least, most = transforms.limits(transform_class.__name__, field.name)
            wrong = [least - 0.1, most + 0.1, float("nan")]
            for value in (least, most):
                transforms.validate([transform_class(**{field.name: value})])
        for value in wrong:
            with pytest.raises(errors.UserError, match=field.name):
                transforms.validate([transform_class(**{field.name: value})])


def test_all_wrong_settings_are_named_in_one_line():
    with pytest.raises(errors.UserError) as caught:
        transforms.validate(
            [
                transforms.Rotate(degrees=200.0, border="mirror"),
                transforms.Contrast(strength=2.0),
                transforms.Hue(strength=1.0),
            ]
        )
    assert str(caught.value) == (
        "Rotate.degrees must be from 0 to 180, not 200.0; "
        "unknown Rotate.border 'mirror'; there are reflect, black, white; "
        "Contrast.strength must be from 0 to 1, not 2.0; "
        "Hue.strength must be from 0 to 0.5, not 1.0"
    )


def test_validate_refuses_what_is_no_transform():
    with pytest.raises(errors.UserError, match="'int'; there are Rotate, FlipHorizontal"):
        transforms.validate([3])
