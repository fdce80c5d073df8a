"""C-NMC 2019, single white cells with and without leukemia: TCIA, or Kaggle's copy of it.

The training set comes in three folds. The preliminary test set is labelled by a CSV file; the
labels of the final one were never published, so its pictures can only be predicted. Subjects are
numbered over all sets, and by their names none stands in two places. By their pictures some do:
99 cells come twice, byte for byte, under two subjects' names, 94 of them in two folds (71 under
20 and 21 alone).
"""

import collections
import pathlib
from collections.abc import Sequence

from jaxall import errors
from jaxall.data import cnmc_names, dataset, decoding, tables

NAME = "cnmc"
CLASS_NAMES = cnmc_names.CLASS_NAMES
LABELS = f"{cnmc_names.PRELIMINARY}_labels.csv"
# Counted in the published files. The descriptions say 15,135 cells; these are 15,114.
EXPECTED = {
    "fold_0/hem": 1130,
    "fold_0/all": 2397,
    "fold_1/hem": 1163,
    "fold_1/all": 2418,
    "fold_2/hem": 1096,
    "fold_2/all": 2457,
    "preliminary/hem": 648,
    "preliminary/all": 1219,
    "final": 2586,
    "training subjects hem": 26,
    "training subjects all": 47,
    "preliminary subjects hem": 15,
    "preliminary subjects all": 13,
    "cells of subject H3": 36,  # h3 on disk, which others' readers lose
}
CITATION = (
    "Gupta & Gupta, ALL Challenge dataset of ISBI 2019 (C-NMC 2019), The Cancer Imaging Archive, "
    "2019, https://doi.org/10.7937/tcia.2019.dc64i46r (CC BY 3.0); "
    "Gehlot, Gupta & Gupta, 2020, https://doi.org/10.1016/j.media.2020.101661"
)
CAVEAT = (
    "cells cut out on black and stain-normalised, from one hospital: expect less elsewhere; a "
    "subject's cells look alike, so use intervals over subjects; 94 cells stand in two folds under "
    "two subjects' names, so folds alone leak"
)
_WANTED = (
    "wanted a folder with C-NMC_training_data/ (TCIA) or training_data/ (Kaggle), and in it "
    "fold_{0,1,2}/{all,hem}/UID_*.bmp"
)
_HOW_TO_GET_IT = (
    "get it from https://doi.org/10.7937/tcia.2019.dc64i46r, or with: kaggle datasets download -d "
    "andrewmvd/leukemia-classification && unzip leukemia-classification.zip -d FOLDER"
)


def load(root: pathlib.Path) -> dataset.DataSet:
    """Reads the table; its root is the folder that holds those of the sets.

    Training rows have a fold, preliminary ones side "test". Where the preliminary set or its CSV
    file is absent there are training rows only, and a note.

    Args:
        root: that folder, one above it, or the training set's own. Upper and lower case of folders
            and file names don't matter.

    Raises:
        UserError: no such folder, a class without pictures, or anything that doesn't fit together
            (its details name it all).
    """
    if not root.is_dir():
        raise errors.UserError(f"there is no folder {root}; {_WANTED}; {_HOW_TO_GET_IT}")
    paths = [path.relative_to(root).as_posix() for path in decoding.find_images(root)]
    top = cnmc_names.top_of(paths)
    places = cnmc_names.sort_out(paths)
    if not places.training:
        found = ", ".join(sorted({path.split("/")[0] for path in paths})[:5]) or "no picture"
        raise errors.UserError(f"{root} holds {found}; {_WANTED}; {_HOW_TO_GET_IT}")
    labels = _find_labels(root, places.preliminary)
    lines = None if labels is None else tables.read(labels, cnmc_names.LABEL_COLUMNS)
    table = cnmc_names.rows_of([path.removeprefix(f"{top}/") for path in paths], lines)
    if table.problems:
        raise errors.UserError(_refusal(root / top, table.problems), table.problems)
    data_set = dataset.DataSet(
        name=NAME,
        root=root / top,
        class_names=CLASS_NAMES,
        rows=table.rows,
        unlabelled=table.unlabelled,
        citation=CITATION,
        caveat=CAVEAT,
        note=_note(table, has_pictures=bool(places.preliminary), has_labels=labels is not None),
    )
    try:
        return dataset.require_every_class(data_set)
    except errors.UserError as error:
        raise errors.UserError(f"{error}; {_WANTED}; {_HOW_TO_GET_IT}") from None


def counts(table: cnmc_names.Table) -> dict[str, int]:
    """What there is of everything in `EXPECTED`, in its order."""
    cells: collections.Counter[str] = collections.Counter()
    subjects: dict[str, set[str]] = collections.defaultdict(set)
    for row in table.rows:
        name = CLASS_NAMES[row.label]
        cells[f"fold_{row.fold}/{name}" if row.fold else f"preliminary/{name}"] += 1
        kind = "training" if row.fold else "preliminary"
        subjects[f"{kind} subjects {name}"].add(row.subject)
        cells[f"cells of subject {row.subject}"] += 1
    cells["final"] = len(table.unlabelled)
    cells.update({name: len(found) for name, found in subjects.items()})
    return {name: cells[name] for name in EXPECTED}


def _find_labels(root: pathlib.Path, preliminary: Sequence[str]) -> pathlib.Path | None:
    """The label file nearest to the preliminary pictures: in their folder, or in one above it."""
    folders = {folder for path in preliminary for folder in pathlib.PurePosixPath(path).parents}
    for folder in sorted(folders, key=lambda folder: (-len(folder.parts), folder)):
        for path in sorted((root / folder).iterdir()):
            if path.name.lower() == LABELS.lower() and path.is_file():
                return path
    return None


def _refusal(top: pathlib.Path, problems: Sequence[str]) -> str:
    first = errors.some(problems, "; ")
    return (
        f"{len(problems):,} things under {top} don't fit together ({first}); "
        f"{_WANTED}, the preliminary pictures named as in {LABELS}"
    )


def _note(table: cnmc_names.Table, *, has_pictures: bool, has_labels: bool) -> str:
    found = counts(table)
    other = [
        f"{name} {found[name]:,} of {expected:,}"
        for name, expected in EXPECTED.items()
        if found[name] != expected
    ]
    if not other:
        return ""
    reason = ""
    if not has_pictures:
        reason = f"; there is no {cnmc_names.PRELIMINARY}, so no preliminary rows"
    elif not has_labels:
        reason = f"; there is no {LABELS}, so the preliminary pictures aren't used"
    return f"not the published copy of {NAME}: {', '.join(other)}{reason}"
