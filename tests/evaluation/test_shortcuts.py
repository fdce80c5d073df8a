import numpy as np
import pytest
import sklearn.linear_model
import sklearn.neighbors
import sklearn.pipeline
import sklearn.preprocessing

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
    for features in (shortcuts.colour_features, shortcuts.pixel_features):
        with pytest.raises(ValueError, match=r"uint8 \(N, ..., 3\), got uint8 \(1, 8, 16\)"):
            features(np.zeros((1, 8, 16), np.uint8))
        with pytest.raises(ValueError, match="got float64"):
            features(np.zeros((1, 16, 16, 3)))
    for classifier in (shortcuts.colour_nearest_neighbour, shortcuts.linear):
        with pytest.raises(ValueError, match=r"features \[M,F\]"):
            classifier(np.zeros((1, 6)), np.zeros(1, int), np.zeros((2, 5)))


def test_colour_features_of_a_list_of_pixels_are_those_of_the_picture():
    images = thumbnails(3)
    np.testing.assert_allclose(
        shortcuts.colour_features(images), shortcuts.colour_features(images.reshape(3, 256, 3))
    )


def test_pixel_features_are_the_pixels():
    images = thumbnails(2)
    np.testing.assert_array_equal(shortcuts.pixel_features(images) * 255, images.reshape(2, 768))


@pytest.mark.parametrize("classes", [2, 4])
def test_the_linear_classifier_is_scikit_learns(classes: int):
    generator = np.random.default_rng(classes)
    labels = generator.integers(0, classes, 300) * 3 + 1
    centres = generator.normal(size=(20, 8))
    features = 4 + 50 * (centres[labels] + generator.normal(size=(300, 8)))
    features[:, 5] = 0.1
    train, test = features[:200], features[200:]
    theirs = sklearn.pipeline.make_pipeline(
        sklearn.preprocessing.StandardScaler(),
        sklearn.linear_model.RidgeClassifier(200 * shortcuts.PENALTY),
    ).fit(train, labels[:200])
    predicted = shortcuts.linear(train, labels[:200], test)
    np.testing.assert_array_equal(predicted, theirs.predict(test))
    assert 0.4 < np.mean(predicted == labels[200:]) < 1


def coloured(labels: np.ndarray) -> np.ndarray:
    """A region whose colour tells the class, brighter or darker by chance."""
    generator = np.random.default_rng(1)
    pixels = generator.integers(100, 130, (len(labels), 50, 3)) + np.eye(3, dtype=int)[labels][
        :, None
    ] * generator.choice([-60, 60], (len(labels), 1, 1))
    return pixels.astype(np.uint8)


def marked(labels: np.ndarray) -> np.ndarray:
    """A region of random colour in which a mark of one area lies where the class wants it."""
    generator = np.random.default_rng(2)
    tints = generator.integers(60, 200, (len(labels), 1, 3))
    pixels = np.repeat(tints, 50, axis=1)
    for image, label in zip(pixels, labels, strict=True):
        image[label * 5 : label * 5 + 5] = 0
    return pixels.astype(np.uint8)


@pytest.mark.parametrize("draw", [coloured, marked])
def test_a_region_is_told_by_whichever_way_does_best_among_the_training_pictures(draw):
    labels = np.random.default_rng(0).integers(0, 3, 240)
    train, test = np.arange(160), np.arange(160, 240)
    told = shortcuts.region(draw(labels), labels, [""] * 240, train, test)
    assert np.mean(told == labels[test]) > 0.95
    others = [
        classifier(features(draw(labels)[train]), labels[train], features(draw(labels)[test]))
        for features, classifier in shortcuts.OF_A_REGION
    ]
    assert min(np.mean(other == labels[test]) for other in others) < 0.8


def test_what_tells_nothing_scores_as_chance_does():
    labels = np.random.default_rng(0).integers(0, 2, 600)
    told = shortcuts.region(
        thumbnails(600)[:, :4], labels, [""] * 600, np.arange(300), np.arange(300, 600)
    )
    assert abs(np.mean(told == labels[300:]) - 0.5) < 0.1


def test_the_test_pictures_have_no_say_in_the_choice():
    labels = np.random.default_rng(0).integers(0, 3, 90)
    train, test = np.arange(60), np.arange(60, 90)
    told = shortcuts.region(coloured(labels), labels, [""] * 90, train, test)
    unknown = np.where(np.arange(90) < 60, labels, -1)
    again = shortcuts.region(coloured(labels), unknown, [""] * 90, train, test)
    np.testing.assert_array_equal(told, again)


def test_groups_stay_in_one_fold_and_classes_are_spread_over_all():
    labels = np.repeat([0, 1], 30)
    groups = [f"g{position // 5}" if position < 20 else "" for position in range(60)]
    folds = shortcuts._folds(labels, groups)
    assert all(len(set(folds[start : start + 5])) == 1 for start in range(0, 20, 5))
    assert np.bincount(folds[30:]).tolist() == [10, 10, 10]


def test_one_group_that_cannot_be_divided_is_learnt_from_all_the_same():
    labels = np.array([0, 0, 1, 1, 0, 1])
    pixels = np.repeat(labels * 200, 6).astype(np.uint8).reshape(6, 2, 3)
    told = shortcuts.region(pixels, labels, ["one"] * 6, np.arange(4), np.arange(4, 6))
    assert told.tolist() == [0, 1]
