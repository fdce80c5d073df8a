"""A split as a table that people can read: a line per picture, the side it stands on, and why."""

import collections
import csv
import hashlib
import io
import pathlib
from collections.abc import Sequence

from jaxall import errors, files
from jaxall.data import checksums, dataset
from jaxall.data.dealing import SIDES
from jaxall.data.splits import Split

COLUMNS = ("path", "class", "label", "subject", "group", "reason", "side")


def save(split: Split, data_set: dataset.DataSet, path: pathlib.Path) -> None:
    """Writes a line per row, all or nothing, for people and for `load`."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    fates = zip(split.groups, split.reasons, split.sides, strict=True)
    for row, fate in zip(data_set.rows, fates, strict=True):
        name = data_set.class_names[row.label]
        writer.writerow((row.path, name, row.label, row.subject, *fate))
    files.write(path, buffer.getvalue())


def load(path: pathlib.Path, data_set: dataset.DataSet) -> Split:
    """Reads a saved split; its lines may stand in any order.

    Raises:
        UserError: no such file or not of this kind, or its pictures, labels, classes and
            subjects aren't those of the data set.
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
        first = errors.some(problems, "; ")
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


def digest(split: Split, data_set: dataset.DataSet) -> str:
    """The sha256 of which picture is on which side, in any order."""
    pairs = sorted(
        f"{row.path} {side}\n" for row, side in zip(data_set.rows, split.sides, strict=True)
    )
    return hashlib.sha256("".join(pairs).encode("utf-8", "surrogateescape")).hexdigest()


def fingerprint(path: pathlib.Path, digests: pathlib.Path, side: str) -> tuple[str, int]:
    """What names the pictures of a side, wherever they lie, and how many subjects they are of.

    Args:
        path: of a saved split.
        digests: the checksums that a run saved of the same pictures.
        side: one of `SIDES`.

    Returns:
        The sha256 of the pictures' own sha256 and classes in sorted order, and the number of known
        subjects.

    Raises:
        UserError: one of the files can't be read, or they don't belong together.
    """
    try:
        known = checksums.load(digests)
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            lines = list(csv.DictReader(file))
        rows = [row for row in lines if row["side"] == side]
        content = sorted(f"{known[row['path']]} {row['class']}\n" for row in rows)
        subjects = {row["subject"] for row in rows if row["subject"]}
        if len(lines) != len(known):
            raise KeyError(f"line for each of {len(known):,} pictures, there are {len(lines):,}")
    except (OSError, csv.Error) as error:
        raise errors.UserError(f"can't read {path} or {digests.name}: {error}") from error
    except KeyError as error:
        raise errors.UserError(f"{path} and {digests.name} are damaged: no {error}") from error
    text = "".join(content).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest(), len(subjects)


def _worded(facts: tuple[str, str, str]) -> str:
    label, name, subject = facts
    return f"{label} {name}" + (f" of {subject}" if subject else "")


def _mismatches(lines: Sequence[dict[str, str]], data_set: dataset.DataSet) -> list[str]:
    problems = []
    wanted = {
        row.path: (str(row.label), data_set.class_names[row.label], row.subject)
        for row in data_set.rows
    }
    seen = collections.Counter(line["path"] for line in lines)
    problems += [f"{path} has no line" for path in wanted if path not in seen]
    problems += [f"{path} has {count} lines" for path, count in seen.items() if count > 1]
    for line in lines:
        path, got = line["path"], (line["label"], line["class"], line["subject"])
        if path not in wanted:
            problems.append(f"{path} isn't in the data set")
        elif got != wanted[path]:
            problems.append(f"{path} is {_worded(wanted[path])}, got {_worded(got)}")
        if line["side"] not in SIDES:
            problems.append(f"{path} stands on {line['side']!r}, not on {', '.join(SIDES)}")
    return problems
