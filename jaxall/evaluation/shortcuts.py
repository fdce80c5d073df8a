"""What can be scored without looking at cells: baselines to print beside every model.

Pictures of one class often come from one slide, stain and light, and near-twins stand on both sides
of a random split. A model is only as good as its lead over these.
"""

import numpy as np

ROWS_AT_ONCE = 256  # bounds the distance table to 256 x training pictures


def colour_features(thumbnails: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of R, G and B: uint8 [N,16,16,3] -> float64 [N,6] in 0..1.

    Raises:
        ValueError: not uint8 or not [N,16,16,3].
    """
    if thumbnails.dtype != np.uint8 or thumbnails.shape[1:] != (16, 16, 3):
        came = f"{thumbnails.dtype} {thumbnails.shape}"
        raise ValueError(f"wanted thumbnails uint8 (N, 16, 16, 3), got {came}")
    values = thumbnails / 255.0
    return np.concatenate([values.mean((1, 2)), values.std((1, 2))], axis=1)


def colour_nearest_neighbour(
    train_features: np.ndarray, train_labels: np.ndarray, test_features: np.ndarray
) -> np.ndarray:
    """Label of the training picture with the nearest features (Euclidean), the first of equals.

    Features [N,F] and [M,F], labels [N] -> [M].

    Raises:
        ValueError: no training picture, or the shapes don't agree.
    """
    shapes = (train_features.shape, train_labels.shape, test_features.shape)
    n, width = train_features.shape
    if n == 0 or train_labels.shape != (n,) or test_features.shape[1:] != (width,):
        raise ValueError(f"wanted features [N,F], labels [N], features [M,F], N > 0, got {shapes}")
    nearest = np.zeros(len(test_features), np.int64)
    for start in range(0, len(test_features), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        offsets = test_features[rows, None, :] - train_features[None, :, :]
        nearest[rows] = np.square(offsets).sum(2).argmin(1)
    return train_labels[nearest]


def majority(train_labels: np.ndarray, n: int) -> np.ndarray:
    """The commonest training label, n times; the smallest of equals.

    Raises:
        ValueError: there are no training labels.
    """
    if len(train_labels) == 0:
        raise ValueError("wanted at least one training label, got none")
    values, counts = np.unique(train_labels, return_counts=True)
    return np.full(n, values[counts.argmax()], train_labels.dtype)
