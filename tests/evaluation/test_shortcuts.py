import numpy as np
import pytest
import sklearn.neighbors

from jaxall.evaluation import shortcuts


def thumbnails(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), np.uint8)


def test_features_are_mean_and_spread_of_each_colour():
    image = np.zeros((1, 16, 16, 3), np.uint8)
    image[0, :8, :, 0], image[0, :, :, 1] = 255, 51
    np.testing.assert_allclose(
        shortcuts.colour_features(image), [[0.5, 0.2, 0, 0.5, 0, 0]], atol=1e-12
    )


def test_features_do_not_see_where_a_pixel_lies():
    images = thumbnails(4)
    moved = images[:, ::-1].swapaxes(1, 2)
    np.testing.assert_allclose(
        shortcuts.colour_features(images), shortcuts.colour_features(moved), atol=1e-12
    )


def test_the_nearest_neighbour_is_scikit_learns_over_several_blocks_of_rows():
    train, test = (shortcuts.colour_features(thumbnails(n, n)) for n in (100, 600))
    labels = np.random.default_rng(0).integers(0, 4, 100)
    theirs = sklearn.neighbors.KNeighborsClassifier(1, algorithm="brute").fit(train, labels)
    predicted = shortcuts.colour_nearest_neighbour(train, labels, test)
    np.testing.assert_array_equal(predicted, theirs.predict(test))


def test_a_training_picture_finds_itself_and_the_first_of_equals_wins():
    features = np.array([[0.0], [1.0], [1.0]])
    labels = np.array([5, 6, 7])
    predicted = shortcuts.colour_nearest_neighbour(features, labels, features)
    assert predicted.tolist() == [5, 6, 6]
    assert shortcuts.colour_nearest_neighbour(features, labels, features[:0]).tolist() == []


def test_the_majority_is_the_commonest_label_and_the_smallest_of_equals():
    assert shortcuts.majority(np.array([2, 1, 2, 0]), 3).tolist() == [2, 2, 2]
    assert shortcuts.majority(np.array([2, 1, 2, 1]), 2).tolist() == [1, 1]


def test_nothing_is_learnt_from_nothing():
    with pytest.raises(ValueError, match="at least one training label, got none"):
        shortcuts.majority(np.array([], np.int64), 2)
    with pytest.raises(ValueError, match=r"N > 0, got \(\(0, 6\), \(0,\), \(2, 6\)\)"):
        shortcuts.colour_nearest_neighbour(np.zeros((0, 6)), np.zeros(0, int), np.zeros((2, 6)))


def test_other_shapes_and_types_are_refused():
    with pytest.raises(ValueError, match=r"uint8 \(N, 16, 16, 3\), got uint8 \(1, 8, 16, 3\)"):
        shortcuts.colour_features(np.zeros((1, 8, 16, 3), np.uint8))
    with pytest.raises(ValueError, match="got float64"):
        shortcuts.colour_features(np.zeros((1, 16, 16, 3)))
    with pytest.raises(ValueError, match=r"features \[M,F\]"):
        shortcuts.colour_nearest_neighbour(np.zeros((1, 6)), np.zeros(1, int), np.zeros((2, 5)))
