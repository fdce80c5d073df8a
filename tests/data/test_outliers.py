import dataclasses
import pathlib

import cv2
import hypothesis
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies
from hypothesis.extra import numpy as arrays
from PIL import Image

from jaxall.data import checking, dataset, outliers, synthetic


def figures(low: float = -1e3, high: float = 1e3):
    return arrays.arrays(float, strategies.integers(1, 40), elements=strategies.floats(low, high))


@hypothesis.given(figures())
@hypothesis.settings(deadline=None)
def test_a_robust_z_is_scipys_distance_in_median_absolute_deviations(values: np.ndarray):
    spread = scipy.stats.median_abs_deviation(values)
    hypothesis.assume(spread > 1e-3)
    expected = (values - np.median(values)) / (1.4826 * spread)
    np.testing.assert_allclose(outliers.robust_z(values), expected)


@hypothesis.given(figures(), strategies.floats(0.5, 100), strategies.floats(-100, 100))
@hypothesis.settings(deadline=None)
def test_a_robust_z_does_not_depend_on_the_unit(values, scale: float, offset: float):
    values = np.round(values)  # else a spread may fall below what counts as none
    once, again = outliers.robust_z(values), outliers.robust_z(scale * values + offset)
    np.testing.assert_allclose(once, again, atol=1e-6)


def test_where_most_are_equal_the_odd_one_still_stands_out():
    z = outliers.robust_z(np.array([0.0] * 99 + [1.0]))
    assert z[-1] > 50 and not z[:-1].any()


@pytest.mark.parametrize("values", [[], [3.0], [2.0] * 5])
def test_equal_values_are_no_outliers(values: list[float]):
    assert outliers.robust_z(np.array(values)).tolist() == [0.0] * len(values)


SPOILT = {
    "out of focus": lambda image: cv2.GaussianBlur(image, (0, 0), 8),
    "blank": lambda image: np.full_like(image, image.mean()),
    "dark": lambda image: image // 3,
    "bright": lambda image: 255 - (255 - image) // 8,
    "clipped": lambda image: np.where(image > 120, 255, image).astype(np.uint8),
    "of another colour": lambda image: image[..., [1, 0, 2]] // np.array([1, 3, 3], np.uint8),
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> dataset.DataSet:
    root = tmp_path_factory.mktemp("drawn")
    synthetic.write(root, subjects_per_class=4, pictures_per_subject=3, size=64)
    return synthetic.load(root)


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_picture_is_found_by_what_is_wrong_with_it(
    drawn: dataset.DataSet, tmp_path: pathlib.Path, name: str
):
    for number, row in enumerate(drawn.rows):
        with Image.open(drawn.absolute(row)) as picture:
            image = np.asarray(picture.convert("RGB"))
        image = SPOILT[name](image) if number == 7 else image
        target = tmp_path / row.path
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.uint8)).save(target, "PNG")
    found = outliers.find(checking.check(dataclasses.replace(drawn, root=tmp_path)))
    assert found.keys() == outliers.KINDS.keys()
    assert found[name][0][0] == 7
    assert len(found[name]) <= 3


def test_no_pictures_have_no_outliers():
    found = outliers.find(checking.Checked(looked=()))
    assert found == {name: [] for name in outliers.KINDS}
