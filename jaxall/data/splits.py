"""Train, validation and test: which picture stands on which side, and why.

A picture's copies and a subject's other pictures belong on its own side, or the test measures
memory. "group" keeps such groups whole; "block" does too, and cuts each class by acquisition
number; "random" deals single pictures, which leaks: it is there to be compared with.
"""

import collections
import csv
import dataclasses
import difflib
import io
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxall import errors, files
from jaxall.data import dataset, dealing
from jaxall.data import duplicates as duplicates_lib

SIDES = dealing.SIDES
DEALERS = {
    "group": dealing.deal_groups,
    "block": dealing.cut_by_number,
    "random": dealing.deal_pictures,
}
COLUMNS = ("path", "class", "label", "subject", "group", "reason", "side")


@dataclasses.dataclass(kw_only=True)
class SplitSettings:
    """How the pictures of each class are divided.

    Attributes:
        kind: "group", "block" or "random".
        train, validation, test: fractions of each class; they sum to 1.
        seed: of the shuffle; "block" doesn't shuffle.
        near_duplicate: correlation above which two pictures are near duplicates, in (0, 1].
    """

    kind: str = "group"
    train: float = 0.64
    validation: float = 0.16
    test: float = 0.20
    seed: int = 0
    near_duplicate: float = 0.8

    @property
    def fractions(self) -> tuple[float, float, float]:
        """In the order of `SIDES`."""
        return self.train, self.validation, self.test

    def validate(self) -> None:
        """Raises UserError if the settings can't be obeyed; says all that is wrong."""
        problems = []
        if self.kind not in DEALERS:
            nearest = difflib.get_close_matches(self.kind, DEALERS, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            problems.append(
                f"no split is of kind {self.kind!r}, there are {', '.join(DEALERS)}{hint}"
            )
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
    targets = dealing.targets_of(data_set, settings.fractions)
    sides = DEALERS[settings.kind](data_set, groups, targets, settings.seed)
    names = [""] * len(data_set.rows)
    for group in groups:
        for position in group:
            names[position] = min(data_set.rows[other].path for other in group)
    split = Split(
        sides=tuple(SIDES[side] for side in sides),
        groups=tuple(names),
        reasons=_reasons(data_set, duplicates),
    )
    _require_every_side(split, data_set)
    return split


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


def save_csv(split: Split, data_set: dataset.DataSet, path: pathlib.Path) -> None:
    """Writes a line per row, all or nothing, for people and for `load_csv`."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    fates = zip(split.groups, split.reasons, split.sides, strict=True)
    for row, fate in zip(data_set.rows, fates, strict=True):
        name = data_set.class_names[row.label]
        writer.writerow((row.path, name, row.label, row.subject, *fate))
    files.write(path, buffer.getvalue())


def load_csv(path: pathlib.Path, data_set: dataset.DataSet) -> Split:
    """Reads a saved split; its lines may stand in any order.

    Raises:
        UserError: no such file or not of this kind, or its pictures, labels and classes aren't
            those of the data set.
    """
    try:
        # Spreadsheets put a byte order mark before what they save.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            columns = tuple(reader.fieldnames or ())
            lines = list(reader)
    except (OSError, csv.Error) as error:
        raise errors.UserError(f"can't read the split {path}: {error}") from error
    if columns != COLUMNS:
        got = ",".join(columns) or "nothing"
        raise errors.UserError(f"wanted the columns {','.join(COLUMNS)} in {path}, got {got}")
    problems = _mismatches(lines, data_set)
    if problems:
        first = "; ".join(problems[:3]) + ("; ..." if len(problems) > 3 else "")
        raise errors.UserError(
            f"the split {path} doesn't fit the data set under {data_set.root}, "
            f"{len(problems):,} mismatches: {first}"
        )
    by_path = {line["path"]: line for line in lines}
    ordered = [by_path[row.path] for row in data_set.rows]
    return Split(
        sides=tuple(line["side"] for line in ordered),
        groups=tuple(line["group"] for line in ordered),
        reasons=tuple(line["reason"] for line in ordered),
    )


def _mismatches(lines: Sequence[dict[str, str]], data_set: dataset.DataSet) -> list[str]:
    problems = []
    wanted = {row.path: (str(row.label), data_set.class_names[row.label]) for row in data_set.rows}
    seen = collections.Counter(line["path"] for line in lines)
    problems += [f"{path} has no line" for path in wanted if path not in seen]
    problems += [f"{path} has {count} lines" for path, count in seen.items() if count > 1]
    for line in lines:
        path, got = line["path"], (line["label"], line["class"])
        if path not in wanted:
            problems.append(f"{path} isn't in the data set")
        elif got != wanted[path]:
            problems.append(f"{path} is {' '.join(wanted[path])}, got {got[0]} {got[1]}")
        if line["side"] not in SIDES:
            problems.append(f"{path} stands on {line['side']!r}, not on {', '.join(SIDES)}")
    return problems


def _members(split: Split) -> list[tuple[int, ...]]:
    members = collections.defaultdict(list)
    for position, name in enumerate(split.groups):
        if name:
            members[name].append(position)
    return [tuple(group) for group in members.values()]


def _groups(
    data_set: dataset.DataSet, duplicates: duplicates_lib.Duplicates
) -> tuple[tuple[int, ...], ...]:
    """Joins duplicates and the pictures of a subject."""
    partition = duplicates_lib.Partition(len(data_set.rows))
    for group in duplicates.groups:
        partition.join(group)
    subjects = collections.defaultdict(list)
    for position, row in enumerate(data_set.rows):
        if row.subject:
            subjects[row.subject].append(position)
    for positions in subjects.values():
        partition.join(positions)
    return partition.groups()


def _reasons(data_set: dataset.DataSet, duplicates: duplicates_lib.Duplicates) -> tuple[str, ...]:
    shared = collections.Counter(row.subject for row in data_set.rows)
    return tuple(
        reason or (f"subject {row.subject}" if row.subject and shared[row.subject] > 1 else "")
        for row, reason in zip(data_set.rows, duplicates.reasons, strict=True)
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
