"""What can be scored without looking at cells: baselines to print beside every model.

Pictures of one class often come from one slide, stain and light, and near-twins stand on both sides
of a random split. A model is only as good as its lead over these: colour alone, a border or the
corners in which no cell need be, and the commonest class.
"""

from collections.abc import Callable, Sequence

import numpy as np

ROWS_AT_ONCE = 256  # bounds the distance table to 256 x training pictures
FOLDS = 3  # of the training pictures, to choose between classifiers of a region
PENALTY = 0.1  # of the ridge regression, as a share of each standardised feature's variance


def colour_features(pixels: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of R, G and B: uint8 [N,...,3] -> float64 [N,6] in 0..1.

    Raises:
        ValueError: not uint8, or not of three colours.
    """
    values = _pixels(pixels)
    return np.concatenate([values.mean(1), values.std(1)], axis=1)


def pixel_features(pixels: np.ndarray) -> np.ndarray:
    """Every value of every pixel: uint8 [N,...,3] -> float64 [N,F] in 0..1.

    Raises:
        ValueError: not uint8, or not of three colours.
    """
    values = _pixels(pixels)
    return values.reshape(len(values), values.shape[1] * 3)


def colour_nearest_neighbour(
    train_features: np.ndarray, train_labels: np.ndarray, test_features: np.ndarray
) -> np.ndarray:
    """Label of the training picture with the nearest features (Euclidean), the first of equals.

    Features [N,F] and [M,F], labels [N] -> [M].

    Raises:
        ValueError: no training picture, or the shapes don't agree.
    """
    _require_examples(train_features, train_labels, test_features)
    nearest = np.zeros(len(test_features), np.int64)
    for start in range(0, len(test_features), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        offsets = test_features[rows, None, :] - train_features[None, :, :]
        nearest[rows] = np.square(offsets).sum(2).argmin(1)
    return train_labels[nearest]


def linear(
    train_features: np.ndarray, train_labels: np.ndarray, test_features: np.ndarray
) -> np.ndarray:
    """Label by ridge regression of +1 (the class) and -1 (another) on standardised features.

    Features [N,F] and [M,F], labels [N] -> [M]. It has a closed form, so there is nothing to tune
    or to wait for. Hoerl and Kennard, 1970, https://doi.org/10.1080/00401706.1970.10488634

    Raises:
        ValueError: no training picture, or the shapes don't agree.
    """
    _require_examples(train_features, train_labels, test_features)
    classes, indices = np.unique(train_labels, return_inverse=True)
    mean, spread = train_features.mean(0), train_features.std(0)
    spread[spread < 1e-9] = 1.0
    train, test = (train_features - mean) / spread, (test_features - mean) / spread
    targets = 2.0 * np.eye(len(classes))[indices] - 1.0
    penalty = PENALTY * len(train) * np.eye(train.shape[1])
    weights = np.linalg.solve(train.T @ train + penalty, train.T @ (targets - targets.mean(0)))
    return classes[(test @ weights + targets.mean(0)).argmax(1)]


Features = Callable[[np.ndarray], np.ndarray]
Classifier = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
# Neither is the stronger everywhere: slides differ in colour, scale bars in shape.
OF_A_REGION: tuple[tuple[Features, Classifier], ...] = (
    (colour_features, colour_nearest_neighbour),
    (pixel_features, linear),
)


def region(
    pixels: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str],
    train: np.ndarray,
    test: np.ndarray,
) -> np.ndarray:
    """Labels of the test pictures told from one region of the picture alone.

    Of `OF_A_REGION` the one is taken that does best in cross-validation among the training
    pictures, the first of equals; the test pictures have no say in it.

    Args:
        pixels: of the region, uint8 [N,...,3].
        labels: of all pictures [N].
        groups: of all pictures, what belongs on one side; "" for a picture alone.
        train: positions of the pictures to learn from.
        test: positions of the pictures to label.

    Raises:
        ValueError: no training picture, or `pixels` isn't uint8 of three colours.
    """
    folds = _folds(labels[train], np.array(groups)[train].tolist())
    right = []
    for features, classifier in OF_A_REGION:
        values = features(pixels[train])
        right.append(0)
        for fold in np.unique(folds):
            here, rest = folds == fold, folds != fold
            if rest.any():
                told = classifier(values[rest], labels[train][rest], values[here])
                right[-1] += int((told == labels[train][here]).sum())
    features, classifier = OF_A_REGION[int(np.argmax(right))]
    return classifier(features(pixels[train]), labels[train], features(pixels[test]))


def majority(train_labels: np.ndarray, n: int) -> np.ndarray:
    """The commonest training label, n times; the smallest of equals.

    Raises:
        ValueError: there are no training labels.
    """
    if len(train_labels) == 0:
        raise ValueError("wanted at least one training label, got none")
    values, counts = np.unique(train_labels, return_counts=True)
    return np.full(n, values[counts.argmax()], train_labels.dtype)


def _folds(labels: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """A fold for each picture [N]: groups whole, each class dealt out in turn."""
    names = [name or f"/{position}" for position, name in enumerate(groups)]
    units, first, members = np.unique(names, return_index=True, return_inverse=True)
    fold = np.empty(len(units), np.int64)
    fold[np.lexsort((first, labels[first]))] = np.arange(len(units)) % FOLDS
    return fold[members]


def _pixels(pixels: np.ndarray) -> np.ndarray:
    """uint8 [N,...,3] as float64 [N,P,3] in 0..1."""
    if pixels.dtype != np.uint8 or pixels.ndim < 3 or pixels.shape[-1] != 3:
        came = f"{pixels.dtype} {pixels.shape}"
        raise ValueError(f"wanted pixels uint8 (N, ..., 3), got {came}")
    return pixels.reshape(len(pixels), int(np.prod(pixels.shape[1:-1])), 3) / 255.0


def _require_examples(
    train_features: np.ndarray, train_labels: np.ndarray, test_features: np.ndarray
) -> None:
    shapes = (train_features.shape, train_labels.shape, test_features.shape)
    n, width = train_features.shape
    if n == 0 or train_labels.shape != (n,) or test_features.shape[1:] != (width,):
        raise ValueError(f"wanted features [N,F], labels [N], features [M,F], N > 0, got {shapes}")
