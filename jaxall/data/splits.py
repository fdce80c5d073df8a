"""Train, validation and test: which picture stands on which side, and why.

A picture's copies and a subject's other pictures belong on its own side, or the test measures
memory. "group" keeps such groups whole; "block" does too, and cuts each class by acquisition
number; "folds" holds out one of k equal parts made of whole groups; "official" obeys the data
set's own folds and sides. "random" deals single pictures, which leaks: it is there to be compared
with, and must be allowed to where subjects are known.
"""

import collections
import dataclasses
import difflib
from collections.abc import Sequence

import numpy as np

from jaxall import errors
from jaxall.data import dataset, dealing, holding_out
from jaxall.data import duplicates as duplicates_lib

SIDES = dealing.SIDES
DEALERS = {
    "group": dealing.deal_groups,
    "block": dealing.cut_by_number,
    "random": dealing.deal_pictures,
}
KINDS = (*DEALERS, "folds", "official")
MOST_FOLDS = 100


@dataclasses.dataclass(kw_only=True)
class SplitSettings:
    """How the pictures of each class are divided.

    Attributes:
        kind: of `KINDS`.
        train, validation, test: fractions of each class; they sum to 1. Where the test side is
            given ("folds", "official"), the first two divide what is left.
        seed: of the shuffle; "block" doesn't shuffle.
        near_duplicate: correlation above which two pictures are near duplicates, in (0, 1].
        folds: of kind "folds".
        fold: which of the folds is held out, counted from 0. It is the test side; with "official",
            where the data set has a test side of its own, the validation side.
        share_subjects: whether a subject may stand on two sides, which inflates every score.
    """

    kind: str = "group"
    train: float = 0.64
    validation: float = 0.16
    test: float = 0.20
    seed: int = 0
    near_duplicate: float = duplicates_lib.NEAR
    folds: int = 5
    fold: int = 0
    share_subjects: bool = False

    @property
    def fractions(self) -> tuple[float, float, float]:
        """In the order of `SIDES`."""
        return self.train, self.validation, self.test

    def validate(self) -> None:
        """Raises UserError if the settings can't be obeyed; says all that is wrong."""
        problems = []
        if self.kind not in KINDS:
            nearest = difflib.get_close_matches(self.kind, KINDS, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            problems.append(
                f"no split is of kind {self.kind!r}, there are {', '.join(KINDS)}{hint}"
            )
        if not 2 <= self.folds <= MOST_FOLDS:
            problems.append(f"wanted from 2 to {MOST_FOLDS} folds, got {self.folds}")
        if self.fold < 0 or (self.kind == "folds" and self.fold >= self.folds):
            problems.append(f"wanted a fold from 0 to {self.folds - 1}, got {self.fold}")
        if not (min(self.fractions) > 0 and abs(sum(self.fractions) - 1) < 1e-6):
            got = ", ".join(f"{side} {x:g}" for side, x in zip(SIDES, self.fractions, strict=True))
            problems.append(f"wanted fractions above 0 that sum to 1, got {got}")
        if not 0 < self.near_duplicate <= 1:
            problems.append(
                f"wanted a near_duplicate above 0 and at most 1, got {self.near_duplicate:g}"
            )
        errors.refuse(problems)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """A side for each row of a data set.

    Attributes:
        sides: one of `SIDES` per row.
        groups: the name of each row's group (the path of one of its members), "" if alone.
        reasons: why the row is in its group: "exact duplicate of PATH",
            "near duplicate of PATH (0.971, mirrored)", "subject S07", "" if alone.
    """

    sides: tuple[str, ...]
    groups: tuple[str, ...]
    reasons: tuple[str, ...]

    def indices(self, side: str) -> np.ndarray:
        """Positions of the rows on a side: int64, ascending."""
        if side not in SIDES:
            raise ValueError(f"wanted one of {', '.join(SIDES)}, got {side!r}")
        return np.flatnonzero(np.array(self.sides) == side).astype(np.int64)


def make(
    data_set: dataset.DataSet, duplicates: duplicates_lib.Duplicates, settings: SplitSettings
) -> Split:
    """Splits a data set; the same pictures, settings and seed give the same split anywhere.

    Raises:
        UserError: the settings can't be obeyed, or a class has no picture on some side.
    """
    settings.validate()
    if len(duplicates.reasons) != len(data_set.rows):
        raise ValueError(
            f"wanted duplicates of {len(data_set.rows)} rows, got {len(duplicates.reasons)}"
        )
    dataset.require_every_class(data_set)
    groups = _groups(data_set, duplicates)
    sides = _deal(data_set, groups, settings)
    names = [""] * len(data_set.rows)
    for group in groups:
        for position in group:
            names[position] = min(data_set.rows[other].path for other in group)
    split = Split(
        sides=tuple(SIDES[side] for side in sides),
        groups=tuple(names),
        reasons=_reasons(data_set, duplicates),
    )
    if not settings.share_subjects:
        _require_subjects_apart(split, data_set)
    _require_every_side(split, data_set)
    return split


def fold_names(data_set: dataset.DataSet, settings: SplitSettings) -> list[str]:
    """The folds that `settings.fold` counts; none where the kind of split has none."""
    if settings.kind == "folds":
        return [str(fold) for fold in range(settings.folds)]
    return holding_out.official_folds(data_set) if settings.kind == "official" else []


def counts(split: Split, data_set: dataset.DataSet) -> dict[str, dict[str, int]]:
    """Pictures by class name and side."""
    cells = collections.Counter(zip(data_set.labels.tolist(), split.sides, strict=True))
    return {
        name: {side: cells[label, side] for side in SIDES}
        for label, name in enumerate(data_set.class_names)
    }


def leaks(split: Split) -> list[tuple[int, ...]]:
    """Positions of the rows of each group that stands on more than one side."""
    return [group for group in _members(split) if len({split.sides[i] for i in group}) > 1]


def summary(split: Split) -> str:
    """One line: pictures on each side, groups, and how many of them leak."""
    totals = collections.Counter(split.sides)
    sides = ", ".join(f"{side} {totals[side]:,}" for side in SIDES)
    members = _members(split)
    pictures = sum(map(len, members))
    across = len(leaks(split))
    return (
        f"{sides}; {len(members):,} groups of {pictures:,} pictures that belong together, "
        f"{across or 'none'} on more than one side"
    )


def _members(split: Split) -> list[tuple[int, ...]]:
    members = collections.defaultdict(list)
    for position, name in enumerate(split.groups):
        if name:
            members[name].append(position)
    return [tuple(group) for group in members.values()]


def _groups(
    data_set: dataset.DataSet, duplicates: duplicates_lib.Duplicates
) -> tuple[tuple[int, ...], ...]:
    """Joins duplicates, the pictures of a subject, and what the data set says belongs together."""
    partition = duplicates_lib.Partition(len(data_set.rows))
    for group in duplicates.groups:
        partition.join(group)
    together: dict[tuple[str, str], list[int]] = collections.defaultdict(list)
    for position, row in enumerate(data_set.rows):
        for kind, name in (("subject", row.subject), ("group", row.group)):
            if name:
                together[kind, name].append(position)
    for positions in together.values():
        partition.join(positions)
    return partition.groups()


def _reasons(data_set: dataset.DataSet, duplicates: duplicates_lib.Duplicates) -> tuple[str, ...]:
    subjects = collections.Counter(row.subject for row in data_set.rows if row.subject)
    groups = collections.Counter(row.group for row in data_set.rows if row.group)
    return tuple(
        reason
        or (f"subject {row.subject}" if subjects[row.subject] > 1 else "")
        or (f"group {row.group}" if groups[row.group] > 1 else "")
        for row, reason in zip(data_set.rows, duplicates.reasons, strict=True)
    )


def _deal(
    data_set: dataset.DataSet, groups: Sequence[tuple[int, ...]], settings: SplitSettings
) -> np.ndarray:
    """The side of each row, an index into `SIDES`, int [N]."""
    if settings.kind in DEALERS:
        targets = dealing.targets_of(data_set, settings.fractions)
        return DEALERS[settings.kind](data_set, groups, targets, settings.seed)
    if settings.kind == "folds":
        sides = holding_out.drawn_fold(
            data_set, groups, settings.folds, settings.fold, settings.seed
        )
    else:
        sides = holding_out.official(data_set, settings.fold)
    share = settings.validation / (settings.train + settings.validation)
    return holding_out.with_validation(data_set, groups, sides, share, settings.seed)


def _require_subjects_apart(split: Split, data_set: dataset.DataSet) -> None:
    sides: dict[str, set[str]] = collections.defaultdict(set)
    for row, side in zip(data_set.rows, split.sides, strict=True):
        if row.subject:
            sides[row.subject].add(side)
    shared = [
        f"subject {subject} stands on {' and '.join(sorted(found, key=SIDES.index))}"
        for subject, found in sides.items()
        if len(found) > 1
    ]
    if shared:
        raise errors.UserError(
            f"{shared[0]} ({len(shared):,} of {len(sides):,} subjects do): a score would measure "
            "memory; wanted every subject on one side. To show what it does to a score: "
            "split.share_subjects=True",
            shared,
        )


def _require_every_side(split: Split, data_set: dataset.DataSet) -> None:
    for label, (name, cells) in enumerate(counts(split, data_set).items()):
        empty = [side for side, count in cells.items() if count == 0]
        if empty:
            own = [i for i, row in enumerate(data_set.rows) if row.label == label]
            units = len({split.groups[i] or i for i in own})
            raise errors.UserError(
                f"wanted a picture of every class for {', '.join(SIDES)}, there is none of {name} "
                f"for {' and '.join(empty)}: the class has {len(own):,} pictures, with those that "
                f"belong together (subjects, duplicates) counted once {units:,}"
            )
