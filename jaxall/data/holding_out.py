"""Test sides that are a fold: one of k that are drawn here, or of the data set's own."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxall import errors
from jaxall.data import dataset, dealing, ordering

TRAIN, VALIDATION, TEST = range(len(dealing.SIDES))


def drawn_fold(
    data_set: dataset.DataSet, groups: Sequence[tuple[int, ...]], folds: int, held: int, seed: int
) -> np.ndarray:
    """Deals whole groups into folds of equal class counts; one is the test side, the rest train.

    Args:
        data_set: the table.
        groups: positions of the rows that belong together.
        folds: how many there are; the same for every `held`.
        held: which of them is the test side.
        seed: of the shuffle.

    Raises:
        UserError: a class has fewer groups and single pictures than there are folds.
    """
    _require_units(data_set, groups, folds)
    targets = dealing.targets_of(data_set, [1 / folds] * folds)
    fold = dealing.deal_groups(data_set, groups, targets, seed)
    return np.where(fold == held, TEST, TRAIN)


def official_folds(data_set: dataset.DataSet) -> list[str]:
    """Names of the data set's own folds, in the order in which they are counted."""
    return sorted({row.fold for row in data_set.rows} - {""}, key=ordering.natural)


def official(data_set: dataset.DataSet, held: int) -> np.ndarray:
    """The data set's own sides; of what is train, or has no side, the fold `held` is held out.

    The fold that is held out is the validation side where the data set has a test side of its own,
    else the test side.

    Raises:
        UserError: the data set has neither folds nor sides, or no such fold.
    """
    names = official_folds(data_set)
    own = [row.side or dealing.SIDES[TRAIN] for row in data_set.rows]
    sides = np.array([dealing.SIDES.index(side) for side in own], np.int64)
    if not names and TEST not in sides:
        raise errors.UserError(
            f"split.kind=official wants folds or sides that the data set gives; {data_set.name} "
            "has none"
        )
    if names and held >= len(names):
        raise errors.UserError(
            f"split.fold is from 0 to {len(names) - 1}, for {data_set.name} has the folds "
            f"{', '.join(names)}; got {held}"
        )
    if names:
        is_held = (sides == TRAIN) & np.array([row.fold == names[held] for row in data_set.rows])
        sides[is_held] = VALIDATION if TEST in sides else TEST
    return sides


def with_validation(
    data_set: dataset.DataSet,
    groups: Sequence[tuple[int, ...]],
    sides: np.ndarray,
    share: float,
    seed: int,
) -> np.ndarray:
    """The sides, where there is no validation side with one made of whole groups of train.

    Args:
        data_set: the table.
        groups: positions of the rows that belong together.
        sides: indices into `SIDES`, int [N].
        share: of what is train so far.
        seed: of the shuffle.
    """
    if VALIDATION in sides:
        return sides
    rest = np.flatnonzero(sides == TRAIN).tolist()
    place = {position: index for index, position in enumerate(rest)}
    table = dataclasses.replace(data_set, rows=tuple(data_set.rows[i] for i in rest))
    inside = [tuple(place[i] for i in group if i in place) for group in groups]
    targets = dealing.targets_of(table, [1 - share, share])
    dealt = dealing.deal_groups(table, [x for x in inside if len(x) > 1], targets, seed)
    result = sides.copy()
    result[rest] = dealt  # 0 and 1 are train and validation here too
    return result


def _require_units(
    data_set: dataset.DataSet, groups: Sequence[tuple[int, ...]], folds: int
) -> None:
    """Every class needs a group, or a picture that is alone, for every fold."""
    group_of = {position: group for group in groups for position in group}
    units: dict[int, set[tuple[int, ...]]] = collections.defaultdict(set)
    for position, row in enumerate(data_set.rows):
        units[row.label].add(group_of.get(position, (position,)))
    few = [
        f"{name} {len(units[label]):,}"
        for label, name in enumerate(data_set.class_names)
        if len(units[label]) < folds
    ]
    if few:
        raise errors.UserError(
            f"wanted at least {folds} subjects or pictures of each class, one for every fold, "
            f"counting those that belong together once; there are: {', '.join(few)}"
        )
