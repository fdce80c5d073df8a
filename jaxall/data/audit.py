"""What is wrong with a data set, or may be: copies, subjects, giveaways and outliers, as JSON."""

import collections
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxall import errors, files
from jaxall.data import checking, dataset, looking, outliers, remarks, splits
from jaxall.data import duplicates as duplicates_lib

FILE = "audit.json"
MOST_KINDS = 20  # kinds of file that are listed, of a set in which every picture has its own size
LARGEST = 5  # subjects that are named


def audit(
    data_set: dataset.DataSet,
    checked: checking.Checked,
    found: duplicates_lib.Duplicates,
    split: splits.Split | None = None,
) -> dict[str, Any]:
    """All findings, in plain values that JSON can hold.

    Keys: "name", "root", "pictures", "classes" (name -> pictures), "quarantined" (path -> reason),
    "duplicates" ("groups", each with the "paths", "classes" and "reasons" of its members;
    "pictures", "copies", "near_groups", "by_class"), "conflicts" (groups with more than one class,
    as paths), "misnamed" (groups of several subjects, path -> subject), "across" ("split",
    "folds", "own split" where there is one -> "duplicates" as paths
    and "subjects" that stand on several of its parts), "subjects", "kinds" (of file), "giveaways"
    (attribute -> share of the pictures whose class it tells), "outliers" (kind -> "figure" and
    "pictures"), and "warnings": sentences, the weightiest first.

    Args:
        data_set: the table, without what was quarantined.
        checked: what was seen of its pictures.
        found: its duplicates.
        split: of the run; None where it isn't split yet.

    Raises:
        ValueError: the arguments are of different tables.
    """
    counts = len(data_set.rows), len(checked.looked), len(found.reasons)
    if len({*counts, len(split.sides) if split else counts[0]}) > 1:
        raise ValueError(f"wanted rows, checked pictures and reasons of one table, got {counts}")
    kinds = _kinds(data_set, checked)
    return with_warnings(
        {
            "name": data_set.name,
            "root": str(data_set.root),
            "pictures": len(data_set.rows),
            "classes": data_set.class_counts,
            "quarantined": checked.quarantined,
            "duplicates": _duplicates(data_set, checked, found),
            "conflicts": [
                _paths(data_set, group)
                for group in found.groups
                if len(set(data_set.labels[list(group)].tolist())) > 1
            ],
            "misnamed": _misnamed(data_set, found),
            "across": _across(data_set, found, split),
            "subjects": _subjects(data_set),
            "kinds": kinds[:MOST_KINDS],
            "other_kinds": len(kinds[MOST_KINDS:]),
            "giveaways": _giveaways(data_set, checked),
            "outliers": {
                name: {
                    "figure": outliers.KINDS[name].figure,
                    "pictures": {data_set.rows[i].path: figure for i, figure in pictures},
                }
                for name, pictures in outliers.find(checked).items()
            },
        }
    )


def with_baselines(
    found: Mapping[str, Any], baselines: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """The audit with "baselines" (side -> name -> accuracy), warned of where they are high."""
    return with_warnings({**found, "baselines": {side: {**row} for side, row in baselines.items()}})


def with_warnings(found: Mapping[str, Any]) -> dict[str, Any]:
    """The audit with its "warnings" written anew."""
    return {**found, "warnings": remarks.of(found)}


def save(found: Mapping[str, Any], path: pathlib.Path) -> None:
    """Writes an audit as JSON."""
    files.write(path, json.dumps(found, indent=2, allow_nan=False) + "\n")


def load(path: pathlib.Path) -> dict[str, Any]:
    """The inverse of `save`.

    Raises:
        UserError: no such file, or not of this kind.
    """
    try:
        found = json.loads(files.read_text(path))
    except OSError as error:
        raise errors.UserError(f"can't read the audit {path}: {error.strerror}") from error
    except ValueError as error:
        raise errors.UserError(f"{path} is no audit: {error}") from error
    wanted = {"name", "root", "pictures", "classes", "duplicates", "outliers", "warnings"}
    missing = sorted(wanted - found.keys()) if isinstance(found, dict) else sorted(wanted)
    if missing:
        raise errors.UserError(f"{path} is no audit: {', '.join(missing)} missing")
    return found


def _misnamed(data_set: dataset.DataSet, found: duplicates_lib.Duplicates) -> list[dict[str, str]]:
    """Groups of copies whose pictures bear the names of several subjects."""
    named = [
        {data_set.rows[i].path: data_set.rows[i].subject for i in group} for group in found.groups
    ]
    return [group for group in named if len(set(group.values()) - {""}) > 1]


def _paths(data_set: dataset.DataSet, positions: Iterable[int]) -> list[str]:
    return [data_set.rows[position].path for position in positions]


def _duplicates(
    data_set: dataset.DataSet, checked: checking.Checked, found: duplicates_lib.Duplicates
) -> dict[str, Any]:
    names, pixels = data_set.class_names, checked.pixels
    labels = [data_set.rows[position].label for group in found.groups for position in group]
    return {
        "groups": [
            {
                "paths": _paths(data_set, group),
                "classes": [names[data_set.rows[position].label] for position in group],
                "reasons": [found.reasons[position] for position in group],
            }
            for group in found.groups
        ],
        "pictures": found.pictures,
        "copies": found.copies,
        "near_groups": sum(len({pixels[position] for position in g}) > 1 for g in found.groups),
        "by_class": {name: labels.count(label) for label, name in enumerate(names)},
    }


def _across(
    data_set: dataset.DataSet, found: duplicates_lib.Duplicates, split: splits.Split | None
) -> dict[str, Any]:
    """Groups and subjects in several parts; of the parts that are named, "" is none."""
    rows = data_set.rows
    divisions = {
        "split": split.sides if split else (),
        "folds": [row.fold for row in rows],
        "own split": [row.side for row in rows],
    }
    subjects = _positions(row.subject for row in rows)

    def is_across(parts: Sequence[str], positions: Iterable[int]) -> bool:
        return len({parts[position] for position in positions} - {""}) > 1

    return {
        name: {
            "duplicates": [_paths(data_set, g) for g in found.groups if is_across(parts, g)],
            "subjects": [subject for subject, own in subjects.items() if is_across(parts, own)],
        }
        for name, parts in divisions.items()
        if any(parts)
    }


def _positions(names: Iterable[str]) -> dict[str, list[int]]:
    """Positions of each name that isn't empty."""
    found = collections.defaultdict(list)
    for position, name in enumerate(names):
        if name:
            found[name].append(position)
    return dict(found)


def _subjects(data_set: dataset.DataSet) -> dict[str, Any]:
    own = _positions(row.subject for row in data_set.rows)
    sizes = sorted(((len(rows), subject) for subject, rows in own.items()), reverse=True)
    pictures = [size for size, _ in sizes]
    labels = {s: {data_set.rows[position].label for position in rows} for s, rows in own.items()}
    return {
        "count": len(own),
        "unnamed": len(data_set.rows) - sum(pictures),
        "pictures": {
            "least": pictures[-1],
            "median": float(np.median(pictures)),
            "most": pictures[0],
        }
        if own
        else {},
        "largest": {subject: size for size, subject in sizes[:LARGEST]},
        "by_class": {
            name: sum(label in of_subject for of_subject in labels.values())
            for label, name in enumerate(data_set.class_names)
        },
        "in_several_classes": [s for s, of_subject in labels.items() if len(of_subject) > 1],
    }


# What a file shows of itself before a pixel is looked at.
ATTRIBUTES: dict[str, Callable[[looking.Looked], str]] = {
    "format": lambda one: one.header.format,
    "colour mode": lambda one: one.header.mode,
    "size": lambda one: f"{one.header.width}x{one.header.height}",
}


def _kinds(data_set: dataset.DataSet, checked: checking.Checked) -> list[dict[str, Any]]:
    """Each combination of the attributes with its pictures by class, the commonest first."""
    counts = collections.defaultdict(collections.Counter)
    for one, row in zip(checked.looked, data_set.rows, strict=True):
        counts[tuple(of(one) for of in ATTRIBUTES.values())][row.label] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
    return [
        {
            **dict(zip(ATTRIBUTES, kind, strict=True)),
            "classes": {name: by[label] for label, name in enumerate(data_set.class_names)},
        }
        for kind, by in ordered
    ]


def _giveaways(data_set: dataset.DataSet, checked: checking.Checked) -> dict[str, float]:
    """Share of the pictures whose class the others with the same attribute name rightly.

    A picture alone of its kind has the commonest class: sizes that all differ tell nothing.
    """
    labels, classes = data_set.labels, len(data_set.class_names)
    commonest = int(np.bincount(labels, minlength=classes).argmax()) if len(labels) else 0
    shares = {}
    for name, of in ATTRIBUTES.items():
        right = 0
        for positions in _positions(map(of, checked.looked)).values():
            counts = np.bincount(labels[positions], minlength=classes)
            for label in labels[positions]:
                others = counts - np.eye(classes, dtype=int)[label]
                told = int(others.argmax()) if others.any() else commonest
                right += int(told == label)
        shares[name] = right / max(len(labels), 1)
    return shares
