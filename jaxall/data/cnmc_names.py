"""What the names of C-NMC 2019 say: set, subject, class and fold of each picture; reads no file."""

import collections
import dataclasses
import posixpath
import re
from collections.abc import Iterable, Sequence

from jaxall.data import dataset, tables

# The organisers' own numbers, and the normal class first, which makes "all" the positive one.
CLASS_NAMES = ("hem", "all")
PRELIMINARY = "C-NMC_test_prelim_phase_data"
LABEL_COLUMNS = ("Patient_ID", "new_names", "labels")

_PRELIMINARY = (PRELIMINARY.lower(), "validation_data")
_FINAL = ("c-nmc_test_final_phase_data", "testing_data")
_TRAINING = ("c-nmc_training_data", "training_data")
_FOLD = re.compile(r"fold_([012])", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"UID_(H?\d{1,6})_(\d{1,6})_(\d{1,3})_(all|hem)", re.ASCII | re.IGNORECASE)
_CELLS = 1000  # more than a photograph shows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """What an original file name says.

    Attributes:
        subject: "57" with leukemia, "H3" without; one normal subject is written h3 on disk.
        number: by photograph, then by cell within it.
        label: index into `CLASS_NAMES`.
    """

    subject: str
    number: int
    label: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Places:
    """Paths by the set that their folders say they are of, each in the order it came in."""

    training: tuple[str, ...] = ()
    preliminary: tuple[str, ...] = ()
    final: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of the whole data set.

    Attributes:
        rows: training and preliminary pictures.
        unlabelled: the final test set, in the order of its numbers.
        problems: what doesn't fit together, one line each; the rows it is about may be missing.
    """

    rows: tuple[dataset.Row, ...]
    unlabelled: tuple[dataset.Row, ...]
    problems: tuple[str, ...]


def parse(name: str) -> Cell | None:
    """Reads a name like UID_H3_10_1_hem.bmp (subject, photograph, cell, class); None if another.

    Upper and lower case don't matter: h3 and H3 are one subject.
    """
    match = _NAME.fullmatch(posixpath.splitext(name)[0])
    if match is None:
        return None
    return Cell(
        subject=match[1].upper(),
        number=int(match[2]) * _CELLS + int(match[3]),
        label=CLASS_NAMES.index(match[4].lower()),
    )


def sort_out(paths: Iterable[str]) -> Places:
    """Tells the sets apart by the names of the folders, TCIA's and Kaggle's, however deep."""
    places = collections.defaultdict(list)
    for path in paths:
        places[_place(path)].append(path)
    return Places(**{name: tuple(found) for name, found in places.items()})


def top_of(paths: Iterable[str]) -> str:
    """The deepest folder above all of the published ones, "" where that is the root itself."""
    tops = set()
    for path in paths:
        *folders, _ = path.split("/")
        known = [index for index, name in enumerate(folders) if _is_published(name)]
        if known:
            tops.add("/".join(folders[: known[0]]))
    return posixpath.commonpath(tops) if tops else ""


def rows_of(paths: Iterable[str], labels: Sequence[tables.Line] | None = None) -> Table:
    """Turns the paths of picture files into the table.

    Args:
        paths: below the data set's folder, with forward slashes.
        labels: lines of the preliminary set's CSV; None leaves that set out.
    """
    places = sort_out(paths)
    problems = [f"{path} stands in no folder of the data set" for path in places.strange]
    training = _training_rows(places.training, problems)
    preliminary = [] if labels is None else _preliminary_rows(places.preliminary, labels, problems)
    unlabelled = _final_rows(places.final, problems)
    problems += _contradictions([*training, *preliminary])

    def place(row: dataset.Row) -> tuple:
        return row.side, row.label, len(row.subject), row.subject, row.number, row.path

    return Table(
        rows=tuple(sorted([*training, *preliminary], key=place)),
        unlabelled=tuple(sorted(unlabelled, key=lambda row: (row.number, row.path))),
        problems=tuple(problems),
    )


def _place(path: str) -> str:
    *folders, _ = path.lower().split("/")
    if any(name in _PRELIMINARY for name in folders):
        return "preliminary"
    if any(name in _FINAL for name in folders):
        return "final"
    if len(folders) > 1 and folders[-1] in CLASS_NAMES and _FOLD.fullmatch(folders[-2]):
        return "training"
    return "strange"


def _is_published(name: str) -> bool:
    known = (*_TRAINING, *_PRELIMINARY, *_FINAL)
    return name.lower() in known or _FOLD.fullmatch(name) is not None


def _training_rows(paths: Iterable[str], problems: list[str]) -> list[dataset.Row]:
    rows = []
    for path in paths:
        *_, fold, folder, name = path.split("/")
        cell = parse(name)
        if cell is None:
            problems.append(f"{path} isn't named like UID_H3_10_1_hem.bmp")
        elif CLASS_NAMES[cell.label] != folder.lower():
            problems.append(f"{path} stands in {folder}, its name says {CLASS_NAMES[cell.label]}")
        else:
            rows.append(
                dataset.Row(
                    path=path,
                    label=cell.label,
                    subject=cell.subject,
                    number=cell.number,
                    fold=fold[-1],
                )
            )
    return rows


def _preliminary_rows(
    paths: Iterable[str], lines: Sequence[tables.Line], problems: list[str]
) -> list[dataset.Row]:
    """Joins pictures and lines by the name on disk; their order means nothing."""
    pictures: dict[str, str] = {}
    for path in paths:
        name = posixpath.basename(path).lower()
        if name in pictures:
            problems.append(f"{path} has the name of {pictures[name]}")
        pictures.setdefault(name, path)
    seen: dict[str, int] = {}
    rows = []
    for line in lines:
        original, name, label = (line.cells[column.lower()] for column in LABEL_COLUMNS)
        path, cell = pictures.get(name.lower()), parse(original)
        faults = []
        if seen.setdefault(name.lower(), line.number) != line.number:
            faults.append(f"stands in line {seen[name.lower()]} too")
        if path is None:
            faults.append("is no picture there")
        if cell is None:
            faults.append(f"is {original!r}, not something like UID_57_29_1_all.bmp")
        elif label != str(cell.label):
            faults.append(f"is {original}, but its label is {label!r}")
        problems += [f"line {line.number}: {name!r} {fault}" for fault in faults]
        if path is not None and cell is not None and not faults:
            rows.append(
                dataset.Row(
                    path=path,
                    label=cell.label,
                    subject=cell.subject,
                    number=cell.number,
                    side="test",
                )
            )
    problems += [f"{path} has no line" for name, path in pictures.items() if name not in seen]
    return rows


def _final_rows(paths: Iterable[str], problems: list[str]) -> list[dataset.Row]:
    rows = []
    for path in paths:
        stem = posixpath.splitext(posixpath.basename(path))[0]
        if re.fullmatch(r"\d{1,6}", stem, re.ASCII):
            rows.append(dataset.Row(path=path, label=-1, number=int(stem)))
        else:
            problems.append(f"{path} isn't named by a number, like 1.bmp")
    return rows


def _contradictions(rows: Sequence[dataset.Row]) -> list[str]:
    """Cells that stand twice, subjects of two classes, and subjects in two places."""
    problems = []
    cells: dict[tuple[str, int, int], str] = {}
    classes, places = collections.defaultdict(set), collections.defaultdict(set)
    for row in rows:
        first = cells.setdefault((row.subject, row.number, row.label), row.path)
        if first != row.path:
            problems.append(f"{row.path} is the cell of {first}")
        classes[row.subject].add(CLASS_NAMES[row.label])
        places[row.subject].add(f"fold_{row.fold}" if row.fold else "the preliminary set")
    for found, what in ((classes, "has cells of"), (places, "stands in")):
        problems += [
            f"subject {subject} {what} {' and '.join(sorted(names))}"
            for subject, names in found.items()
            if len(names) > 1
        ]
    return problems
