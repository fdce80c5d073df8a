"""Which side each picture goes to: ways of dealing them out.

Each takes the table, the groups that belong together, the pictures wanted of each class on each
side (int [K,S]) and a seed, and returns the index of a side per row, int [N]. The sides may as well
be the folds of a cross-validation.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from jaxall.data import dataset

TIE = 1e-3  # weight of all classes together, which decides between equals only
SIDES = ("train", "validation", "test")


def targets_of(data_set: dataset.DataSet, fractions: Sequence[float]) -> np.ndarray:
    """Pictures wanted of each class on each side, int [K,S], by largest remainder.

    Of equal remainders that of the side counts that the classes before have left shortest.
    """
    sizes = np.array(list(data_set.class_counts.values()))
    exact = sizes[:, None] * np.array(fractions)
    targets = np.floor(exact + 1e-9).astype(np.int64)
    surplus = np.zeros(len(fractions))
    for size, wanted, row in zip(sizes, exact, targets, strict=True):
        order = np.lexsort((np.round(surplus, 9), np.round(row - wanted, 9)))
        row[order[: size - row.sum()]] += 1
        # Rounding mustn't empty a side while another has pictures to spare.
        while row.min() == 0 and row.max() > 1:
            row[row.argmax()] -= 1
            row[row.argmin()] += 1
        surplus += row - wanted
    return targets


def _shuffled(keys: Sequence[str], seed: int) -> list[int]:
    """An order that depends on the keys and the seed alone, not on the keys' own order."""
    texts = [f"{seed}/{key}".encode("utf-8", "surrogateescape") for key in keys]
    digests = [hashlib.sha256(text).digest() for text in texts]
    return sorted(range(len(keys)), key=digests.__getitem__)


def _deal_in_order(
    data_set: dataset.DataSet, order: Sequence[int], targets: np.ndarray
) -> np.ndarray:
    """Gives each class's first pictures to train, the next to validation, the last to test."""
    sides = np.empty(len(data_set.rows), np.int64)
    for label, wanted in enumerate(targets):
        own = [position for position in order if data_set.rows[position].label == label]
        sides[own] = np.repeat(np.arange(len(wanted)), wanted)
    return sides


def deal_pictures(
    data_set: dataset.DataSet, groups: Sequence[tuple[int, ...]], targets: np.ndarray, seed: int
) -> np.ndarray:
    """Deals single pictures, shuffled, whatever belongs together."""
    del groups
    order = _shuffled([row.path for row in data_set.rows], seed)
    return _deal_in_order(data_set, order, targets)


def cut_by_number(
    data_set: dataset.DataSet, groups: Sequence[tuple[int, ...]], targets: np.ndarray, seed: int
) -> np.ndarray:
    """Cuts each class by number; a group stands, whole, where its first member stands."""
    del seed

    def place(position: int) -> tuple[int, int, str]:
        row = data_set.rows[position]
        return row.label, row.number, row.path

    first = list(range(len(data_set.rows)))
    for group in groups:
        for position in group:
            first[position] = min(group, key=place)
    order = sorted(
        range(len(first)), key=lambda position: (place(first[position]), place(position))
    )
    return _deal_in_order(data_set, order, targets)[first]


def deal_groups(
    data_set: dataset.DataSet, groups: Sequence[tuple[int, ...]], targets: np.ndarray, seed: int
) -> np.ndarray:
    """Deals groups and single pictures, shuffled, each to the side that is filled least.

    So a side gets its share of the groups too. It ends with groups moved about for as long as
    one move brings the counts nearer to the targets.
    """
    grouped = {position for group in groups for position in group}
    units = [*groups, *((i,) for i in range(len(data_set.rows)) if i not in grouped)]
    keys = [min(data_set.rows[position].path for position in unit) for unit in units]
    units = [units[index] for index in _shuffled(keys, seed)]
    sizes = np.zeros((len(units), len(targets)), np.int64)
    for unit, size in zip(units, sizes, strict=True):
        np.add.at(size, data_set.labels[list(unit)], 1)

    wanted = np.maximum(targets, 1e-3)
    filled = np.zeros_like(targets)
    dealt = np.empty(len(units), np.int64)
    for index, size in enumerate(sizes):
        dealt[index] = (size[:, None] * filled / wanted).sum(axis=0).argmin()
        filled[:, dealt[index]] += size
    _settle(sizes, wanted, dealt)

    sides = np.empty(len(data_set.rows), np.int64)
    for unit, side in zip(units, dealt, strict=True):
        sides[list(unit)] = side
    return sides


def _settle(sizes: np.ndarray, wanted: np.ndarray, dealt: np.ndarray) -> None:
    """Makes the best single move, again and again, while it helps; changes `dealt` [G].

    What is best is told by Pearson's chi-square of the counts against the targets, but a side
    that has nothing of a class comes before all else. Of equals the one is best that brings the
    sides' pictures of all classes together nearer to theirs.

    Args:
        sizes: pictures of each group by class, [G,K].
        wanted: targets, [K,S].
        dealt: the side of each group.
    """
    empty = float(sizes.sum()) ** 2  # costs more than any distance from the targets

    def cost(filled: np.ndarray) -> np.ndarray:
        by_class = (filled - wanted) ** 2 / wanted + empty * (filled == 0)
        together = (filled - wanted).sum(axis=-2) ** 2 / wanted.sum(axis=-2)
        return by_class.sum(axis=-2) + TIE * together

    everyone = np.arange(len(sizes))
    sides = range(wanted.shape[1])
    for _ in range(len(sides) * len(sizes)):  # rounding mustn't make it go in circles
        filled = np.stack([sizes[dealt == side].sum(axis=0) for side in sides], axis=1)
        gone = cost(filled - sizes[:, :, None])[everyone, dealt] - cost(filled)[dealt]
        moved = cost(filled + sizes[:, :, None]) - cost(filled) + gone[:, None]
        moved[everyone, dealt] = 0.0
        best = np.unravel_index(moved.argmin(), moved.shape)
        if moved[best] > -1e-6:
            return
        dealt[best[0]] = best[1]
