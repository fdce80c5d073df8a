"""What needs no morphology: the accuracies that stand beside every model's."""

import numpy as np

from jaxall.data import checking, dataset, remarks, splits
from jaxall.evaluation import shortcuts


def accuracies(
    data_set: dataset.DataSet, split: splits.Split, checked: checking.Checked
) -> dict[str, dict[str, float]]:
    """Accuracy, by side, of what needs no morphology; see `shortcuts`."""
    features = shortcuts.colour_features(checked.thumbnails)
    labels, train = data_set.labels, split.indices("train")
    rows = np.concatenate([split.indices(side) for side in splits.SIDES[1:]])
    frames, corners = checked.frames, checked.corners
    guesses = {
        "colour only (nearest neighbour)": shortcuts.colour_nearest_neighbour(
            features[train], labels[train], features[rows]
        ),
        "border only": shortcuts.region(frames, labels, split.groups, train, rows),
        "corners only": shortcuts.region(corners, labels, split.groups, train, rows),
        remarks.COMMONEST: shortcuts.majority(labels[train], len(rows)),
    }
    sides = np.array(split.sides)[rows]
    return {
        side: {
            name: float(np.mean((guess == labels[rows])[sides == side]))
            for name, guess in guesses.items()
        }
        for side in splits.SIDES[1:]
    }
