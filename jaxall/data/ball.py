"""B-ALL peripheral blood smears of Taleqani hospital: Kaggle `mehradaria/leukemia`, `Original/`.

The set comes twice, as photographed (`Original/`) and with the background blackened
(`Segmented/`), under the same file names. Only the first is read: mixed in one split they would
leak, and the second's masks tell the classes apart by themselves. No patient is named anywhere.
"""

import pathlib
import re
from collections.abc import Sequence

from jaxall import errors
from jaxall.data import dataset, decoding

NAME = "b_all"
EXPECTED = {"Benign": 504, "Early": 985, "Pre": 963, "Pro": 804}
CLASS_NAMES = tuple(EXPECTED)
CITATION = (
    "Aria et al., Acute Lymphoblastic Leukemia (ALL) image dataset, 2021, "
    "https://doi.org/10.34740/KAGGLE/DSV/2175623; "
    "Ghaderzadeh et al., 2022, https://doi.org/10.1002/int.22753"
)
CAVEAT = (
    "the pictures name no patient, so no split of them separates patients: expect less on new ones"
)
_HOW_TO_GET_IT = (
    "get it with: kaggle datasets download -d mehradaria/leukemia && unzip leukemia.zip -d FOLDER"
)
_WANTED = "wanted a folder with Original/{" + ",".join(CLASS_NAMES) + "}/WBC-*.jpg"
# Folders above Original/: pictures/ of a prepared set, and the zip's own name, sometimes twice.
_DEPTH = 4


def load(root: pathlib.Path) -> dataset.DataSet:
    """Reads the table; its root is the `Original` folder, its rows are ordered by class and number.

    Args:
        root: `Original` itself or a folder above it. Upper and lower case don't matter.

    Raises:
        UserError: no such folder, a class without pictures, or a file name of another kind.
    """
    original = _find_original(root)
    rows: list[dataset.Row] = []
    strange: list[str] = []
    for label, name in enumerate(CLASS_NAMES):
        pattern = re.compile(rf"WBC-(?:Malignant-)?{name}-(\d+)", re.IGNORECASE)
        for folder in _children(original, name):
            for path in decoding.find_images(folder):
                relative = path.relative_to(original).as_posix()
                match = pattern.fullmatch(path.stem)
                if match is None:
                    strange.append(relative)
                else:
                    rows.append(dataset.Row(path=relative, label=label, number=int(match[1])))
    if strange:
        raise errors.UserError(_strange(original, strange))
    data_set = dataset.DataSet(
        name=NAME,
        root=original,
        class_names=CLASS_NAMES,
        rows=tuple(sorted(rows, key=lambda row: (row.label, row.number, row.path))),
        citation=CITATION,
        caveat=CAVEAT,
        note=_note(rows),
    )
    try:
        return dataset.require_every_class(data_set)
    except errors.UserError as error:
        raise errors.UserError(f"{error}; {_WANTED}; {_HOW_TO_GET_IT}") from None


def _find_original(root: pathlib.Path) -> pathlib.Path:
    """Goes down from the root, through single folders, to the one that holds the classes."""
    if not root.is_dir():
        raise errors.UserError(f"there is no folder {root}; {_WANTED}; {_HOW_TO_GET_IT}")
    folder = root
    for _ in range(_DEPTH + 1):
        if _is_segmented(folder):
            raise errors.UserError(f"{folder} is the Segmented half, which isn't used; {_WANTED}")
        if any(_children(folder, name) for name in CLASS_NAMES):
            return folder
        below = _children(folder, "Original") or [
            path for path in _folders(folder) if not _is_segmented(path)
        ]
        if len(below) != 1:
            break
        folder = below[0]
    found = ", ".join(path.name for path in _folders(root)[:5]) or "no folder"
    raise errors.UserError(f"{root} holds {found}; {_WANTED}; {_HOW_TO_GET_IT}")


def _is_segmented(folder: pathlib.Path) -> bool:
    return folder.resolve().name.lower() == "segmented"


def _folders(folder: pathlib.Path) -> list[pathlib.Path]:
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.is_dir() and not decoding.is_clutter(path.name)
        )
    except OSError as error:
        raise errors.UserError(f"can't read the folder {folder}: {error.strerror}") from error


def _children(folder: pathlib.Path, name: str) -> list[pathlib.Path]:
    return [path for path in _folders(folder) if path.name.lower() == name.lower()]


def _strange(original: pathlib.Path, paths: Sequence[str]) -> str:
    first = errors.some(paths)
    return (
        f"{len(paths):,} pictures under {original} aren't named after their class and number "
        f"(like Pro/WBC-Malignant-Pro-722.jpg): {first}"
    )


def _note(rows: Sequence[dataset.Row]) -> str:
    found = [sum(row.label == label for row in rows) for label in range(len(CLASS_NAMES))]
    expected = list(EXPECTED.values())
    if found == expected:
        return ""
    return (
        f"not the published copy of {NAME}: expected {sum(expected):,} pictures "
        f"({_table(expected)}), found {sum(found):,} ({_table(found)})"
    )


def _table(counts: Sequence[int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in zip(CLASS_NAMES, counts, strict=True))
