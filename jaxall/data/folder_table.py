"""Anyone's pictures as a CSV file lists them."""

import os.path
import pathlib
import re
from collections.abc import Sequence

from jaxall import errors
from jaxall.data import dataset, dealing, ordering, spelling, tables

NAMES = ("table.csv", "manifest.csv", "dataset.csv")
_COLUMNS = (
    "wanted the columns path and label (or class), and where known subject, group, split, fold, "
    "number"
)


def find(root: pathlib.Path) -> pathlib.Path | None:
    """The CSV file of a folder: the one that bears one of `NAMES`, or else the only one.

    Raises:
        UserError: there are several, and it can't be told which is meant.
    """
    try:
        found = sorted(
            path
            for path in root.iterdir()
            if path.suffix.lower() == ".csv" and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise errors.UserError(f"can't read the folder {root}: {error.strerror}") from error
    meant = [path for path in found if path.name.lower() in NAMES] or found
    if len(meant) > 1:
        names = ", ".join(path.name for path in meant)
        raise errors.UserError(
            f"wanted one CSV file in {root}, there are {names}: give data.root one of them"
        )
    return meant[0] if meant else None


def read(path: pathlib.Path) -> tuple[tuple[str, ...], tuple[dataset.Row, ...]]:
    """The class names, naturally sorted, and the rows, in the order of the file.

    `class` is taken before `label`; a row whose cell is empty has label -1. Paths are relative to
    the file's folder and may not leave it. Without numbers in it, the rows are numbered in the
    natural order of their paths.

    Raises:
        UserError: can't be read, or lines that can't be used (its details name them all).
    """
    lines = tables.read(path)
    kind = _label_column(path, lines)
    paths = [_posix(line.cells["path"]) for line in lines]
    folder = os.path.realpath(path.parent)
    is_numbered = any(line.cells.get("number") for line in lines)
    problems = []
    seen: dict[str, int] = {}
    for line, picture in zip(lines, paths, strict=True):
        faults = _faults_of_path(folder, picture) + _faults_of_cells(line, is_numbered)
        if seen.setdefault(picture, line.number) != line.number:
            faults.append(f"stands in line {seen[picture]} too")
        problems += [f"line {line.number}: {picture!r} {fault}" for fault in faults]
    class_names = tuple(sorted({line.cells[kind] for line in lines} - {""}, key=ordering.natural))
    problems += faults_of_classes(class_names)
    if problems:
        first = errors.some(problems, "; ")
        raise errors.UserError(
            f"{len(problems):,} mistakes in {path}: {first}; {_COLUMNS}", problems
        )
    order = {
        picture: number
        for number, picture in enumerate(sorted(paths, key=ordering.natural), start=1)
    }
    rows = tuple(
        dataset.Row(
            path=picture,
            label=class_names.index(line.cells[kind]) if line.cells[kind] else -1,
            subject=line.cells.get("subject", ""),
            number=int(line.cells["number"]) if is_numbered else order[picture],
            group=line.cells.get("group", ""),
            fold=line.cells.get("fold", ""),
            side=line.cells.get("split", "").lower(),
        )
        for line, picture in zip(lines, paths, strict=True)
    )
    return class_names, rows


def faults_of_classes(class_names: Sequence[str]) -> list[str]:
    """What is wrong with the names of classes: two differ in case alone, or one is no text."""
    faults = []
    seen: dict[str, str] = {}
    for name in class_names:
        other = seen.setdefault(spelling.caseless(name), name)
        if other != name:
            faults.append(f"only case or accents tell the classes {other} and {name} apart")
        if not name.isprintable():
            faults.append(f"the class name {name!r} isn't plain text")
    return faults


def _label_column(path: pathlib.Path, lines: Sequence[tables.Line]) -> str:
    if not lines:
        raise errors.UserError(f"{path} lists no picture; {_COLUMNS}")
    columns = lines[0].cells
    kind = next((name for name in ("class", "label") if name in columns), None)
    if kind is None or "path" not in columns:
        raise errors.UserError(
            f"{path} has the columns {', '.join(columns)}; {_COLUMNS} (a CSV file goes before "
            "folders of classes: if those are meant, keep it elsewhere)"
        )
    return kind


def _posix(text: str) -> str:
    """A path as a table has it, with forward slashes and without needless parts."""
    return pathlib.PurePosixPath(text.replace("\\", "/")).as_posix() if text else ""


def _faults_of_path(folder: str, text: str) -> list[str]:
    if not text:
        return ["is no path"]
    path = pathlib.PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", text):
        return ["isn't a path below the table's folder"]
    file = os.path.join(folder, text)
    if not os.path.isfile(file):
        return ["is no file there"]
    if not os.path.realpath(file).startswith(os.path.join(folder, "")):
        return ["is a link that leaves the table's folder"]
    return []


def _faults_of_cells(line: tables.Line, is_numbered: bool) -> list[str]:
    faults = []
    side = line.cells.get("split", "")
    if side and side.lower() not in dealing.SIDES:
        faults.append(f"has the split {side!r}, not one of {', '.join(dealing.SIDES)}")
    if is_numbered and not re.fullmatch(r"\d{1,18}", line.cells["number"], re.ASCII):
        faults.append(f"has the number {line.cells['number']!r}, not a whole one")
    return faults
