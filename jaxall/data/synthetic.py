"""Drawn blood smears: a small data set that needs no download, for quickstart and tests."""

import os
import pathlib
import re
import tempfile
from collections.abc import Sequence

from PIL import Image

from jaxall import errors
from jaxall.data import dataset, decoding, smears

NAME = "drawn_smears"
CAVEAT = "drawings, not photographs: scores on them say nothing about disease"
CITATION = "Drawn by jaxall.data.smears; no photograph, no patient."
CLASS_NAMES = smears.CLASS_NAMES
_DEPTH = 4  # folders that may lie around Original/
_EXAMPLE = "Original/Early/Drawn-Early-S13-007.png"


def write(
    root: str | os.PathLike,
    *,
    subjects_per_class: int = 10,
    pictures_per_subject: int = 15,
    size: int = 128,
    seed: int = 0,
) -> None:
    """Draws a data set into a new folder, laid out like B-ALL.

    Subjects are numbered from 1 over the whole set, so each has one class; pictures from 1 within
    a subject: Original/Early/Drawn-Early-S13-007.png. The folder appears when its last picture
    is written; until then they lie in a hidden folder beside it.

    Raises:
        UserError: the folder holds something already, can't be written, or a count is below 1.
    """
    root = pathlib.Path(root)
    if min(subjects_per_class, pictures_per_subject, size) < 1:
        raise errors.UserError(
            "wanted at least 1 subject a class, picture a subject and pixel a side, "
            f"got {subjects_per_class}, {pictures_per_subject} and {size}"
        )
    if not _is_vacant(root):
        raise errors.UserError(f"wanted an empty or a new folder to draw into, {root} is neither")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as folder:
            drawn = pathlib.Path(folder) / "drawn"
            for label, class_name in enumerate(CLASS_NAMES):
                (drawn / "Original" / class_name).mkdir(parents=True)
                for index in range(subjects_per_class * pictures_per_subject):
                    subject = 1 + label * subjects_per_class + index // pictures_per_subject
                    number = 1 + index % pictures_per_subject
                    picture = smears.draw(class_name, subject, number, size=size, seed=seed)
                    name = f"Drawn-{class_name}-S{subject:02d}-{number:03d}.png"
                    path = drawn / "Original" / class_name / name
                    Image.fromarray(picture).save(path, compress_level=1)
            if root.exists():
                root.rmdir()
            drawn.rename(root)
    except OSError as error:
        raise errors.UserError(f"can't draw into {root}: {error.strerror or error}") from error


def load(root: str | os.PathLike) -> dataset.DataSet:
    """Reads the table; where there is no folder yet, or an empty one, draws the defaults first.

    Raises:
        UserError: the folder holds something else, or lacks a class.
    """
    root = pathlib.Path(root)
    if _is_vacant(root):
        try:
            write(root)
        except errors.UserError:
            # Another process may have been first; what it has put there is whole.
            if _is_vacant(root):
                raise
    original = _find_original(root)
    paths = decoding.find_images(original) if original.is_dir() else []
    rows = [_row(path.relative_to(original).as_posix()) for path in paths]
    known = tuple(row for row in rows if row is not None)
    if not known or len(known) < len(paths):
        raise errors.UserError(
            f"wanted drawn smears ({_EXAMPLE}) or no folder yet, got {root}; "
            f"there is {_found(root, paths, rows)}"
        )
    return dataset.require_every_class(
        dataset.DataSet(
            name=NAME,
            root=original,
            class_names=CLASS_NAMES,
            rows=known,
            citation=CITATION,
            caveat=CAVEAT,
        )
    )


def _find_original(root: pathlib.Path) -> pathlib.Path:
    """`Original` in the root or, as archives have it, below single folders of the root."""
    folder = root
    for _ in range(_DEPTH):
        below = [path for path in folder.glob("*/") if not decoding.is_clutter(path.name)]
        if folder / "Original" in below or len(below) != 1:
            break
        folder = below[0]
    return folder / "Original"


def _row(path: str) -> dataset.Row | None:
    names = "|".join(CLASS_NAMES)
    match = re.fullmatch(rf"({names})/Drawn-\1-(S\d+)-(\d+)\.png", path)
    if match is None:
        return None
    label = CLASS_NAMES.index(match[1])
    return dataset.Row(path=path, label=label, subject=match[2], number=int(match[3]))


def _found(
    root: pathlib.Path, paths: Sequence[pathlib.Path], rows: Sequence[dataset.Row | None]
) -> str:
    strange = [path for path, row in zip(paths, rows, strict=True) if row is None]
    if not strange:
        if not root.is_dir():
            return "a file of that name"
        strange = sorted(root.iterdir())
    return errors.some([path.relative_to(root).as_posix() for path in strange])


def _is_vacant(root: pathlib.Path) -> bool:
    try:
        return not root.exists() or (root.is_dir() and not any(root.iterdir()))
    except OSError as error:
        raise errors.UserError(f"can't read the folder {root}: {error.strerror}") from error
