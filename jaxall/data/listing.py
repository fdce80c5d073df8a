"""Reads every picture of a data set about to be prepared, and lists what was found."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

from jaxall import errors
from jaxall.data import audit, checking, dataset, duplicates, manifest, prepared, quarantine


def make(
    data_set: dataset.DataSet,
    folder: pathlib.Path,
    *,
    most_bad: float | None = None,
    near_duplicate: float,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Writes manifest, quarantine list and audit of a data set that lies below `folder`.

    Args:
        data_set: as its loader reads it.
        folder: where all are written.
        most_bad: share of pictures that may be unreadable; None for none at all.
        near_duplicate: correlation above which two pictures are near duplicates.
        progress: told how many pictures are done.

    Returns:
        Counts of everything, the share of labelled pictures that can't be read, and what the data
        set says of itself; plain values for JSON.

    Raises:
        UnreadablePicturesError: too many can't be read.
        UserError: a class is without a picture, or a picture lies outside of the folder.
    """
    whole = table(data_set, folder)
    checked = checking.check(whole, most_bad=most_bad, progress=progress)
    quarantine.save(checked.quarantined, folder / quarantine.FILE)
    whole = dataset.require_every_class(whole.without(checked.quarantined))
    found = duplicates.find(whole, checked, near_duplicate=near_duplicate)
    manifest.save(manifest.describe(whole, checked, found), folder / prepared.MANIFEST)
    labelled = sum(row.label >= 0 for row in whole.rows)
    lost = len(data_set.rows) - labelled
    audited = _audit(whole, checked, found, labelled, near_duplicate)
    audit.save(audited, folder / audit.FILE)
    subjects = _subjects(whole)
    return {
        "classes": {
            name: {"pictures": count, "subjects": len(subjects[label])}
            for label, (name, count) in enumerate(whole.class_counts.items())
        },
        "unlabelled": len(whole.rows) - labelled,
        "quarantined": len(checked.quarantined),
        "quarantined_share": lost / len(data_set.rows),
        "duplicates": {
            "pictures": found.pictures,
            "groups": len(found.groups),
            "copies": found.copies,
            "in_several_classes": sum(map(len, audited["conflicts"])),
        },
        "outliers": sum(len(one["pictures"]) for one in audited["outliers"].values()),
        "warnings": audited["warnings"],
        "note": data_set.note,
        "caveat": data_set.caveat,
        "citation": data_set.citation,
    }


def table(data_set: dataset.DataSet, folder: pathlib.Path) -> dataset.DataSet:
    """All rows of a data set below `folder`, labelled then unlabelled, their paths relative to it.

    Raises:
        UserError: a row's picture lies elsewhere.
    """
    rows = []
    for row in (*data_set.rows, *data_set.unlabelled):
        path = pathlib.Path(os.path.normpath(data_set.absolute(row)))
        if not path.is_relative_to(folder):
            raise errors.UserError(f"{data_set.name} names a picture outside of it: {row.path}")
        rows.append(dataclasses.replace(row, path=path.relative_to(folder).as_posix()))
    return dataclasses.replace(data_set, root=folder, rows=tuple(rows), unlabelled=())


def _audit(
    whole: dataset.DataSet,
    checked: checking.Checked,
    found: duplicates.Duplicates,
    labelled: int,
    near_duplicate: float,
) -> dict[str, Any]:
    """Of the labelled pictures, which stand first; what has no label can be in no split."""
    if labelled < len(whole.rows):
        whole = dataclasses.replace(whole, rows=whole.rows[:labelled])
        checked = checking.Checked(
            looked=checked.looked[:labelled], quarantined=checked.quarantined
        )
        found = duplicates.find(whole, checked, near_duplicate=near_duplicate)
    # The folder is given its name when it is finished; the paths are relative to where it lies.
    return audit.audit(dataclasses.replace(whole, root=pathlib.Path()), checked, found)


def _subjects(data_set: dataset.DataSet) -> dict[int, set[str]]:
    """Those that are known, by label."""
    subjects = collections.defaultdict(set)
    for row in data_set.rows:
        if row.subject:
            subjects[row.label].add(row.subject)
    return subjects
