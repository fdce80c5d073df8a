"""The list of pictures left out because they can't be read: for people, and to resume by."""

import csv
import io
import pathlib
from collections.abc import Mapping

from jaxall import errors, files

FILE = "quarantine.csv"
COLUMNS = ["path", "reason"]


def save(quarantined: Mapping[str, str], path: pathlib.Path) -> None:
    """Writes a line for each picture, path -> reason; no file where there is none."""
    if not quarantined:
        path.unlink(missing_ok=True)
        return
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([COLUMNS, *quarantined.items()])
    files.write(path, buffer.getvalue())


def load(path: pathlib.Path) -> dict[str, str]:
    """The inverse of `save`.

    Raises:
        UserError: the file can't be read, or is not of this kind.
    """
    if not path.exists():
        return {}
    try:
        lines = list(csv.reader(io.StringIO(files.read_text(path), newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise errors.UserError(f"can't read the quarantine list {path}: {error}") from error
    if lines[:1] != [COLUMNS] or any(len(line) != len(COLUMNS) for line in lines):
        raise errors.UserError(f"wanted the columns {','.join(COLUMNS)} in {path}")
    return dict(lines[1:])
