"""CSV files as spreadsheets and people write them."""

import codecs
import csv
import dataclasses
import pathlib
from collections.abc import Sequence

from jaxall import errors

_DELIMITERS = (",", ";", "\t")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One line below the heading.

    Attributes:
        number: where it ends in the file, counted from 1, as editors do.
        cells: column in lower case -> text without the spaces around it.
    """

    number: int
    cells: dict[str, str]


def read(path: pathlib.Path, wanted: Sequence[str] = ()) -> list[Line]:
    """Reads the lines below the heading; empty ones are passed over.

    Comma, semicolon and tab are told apart by the heading, the byte order mark of spreadsheets is
    skipped, and bytes that aren't UTF-8 are kept as `os.fsdecode` keeps those of file names.

    Args:
        path: the file.
        wanted: columns it must have, any others may be beside them in any order; upper and lower
            case don't matter.

    Raises:
        UserError: can't be read, lacks a column or has it twice, or a line is too short or long.
    """
    try:
        _refuse_utf16(path)
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            heading = file.readline()
            file.seek(0)
            delimiter = max(_DELIMITERS, key=heading.count)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            columns = [name.strip().lower() for name in next(reader, [])]
            _require_columns(path, columns, wanted)
            lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader]
    except (OSError, csv.Error) as error:
        reason = errors.reason(error)
        raise errors.UserError(f"can't read the table {path}: {reason}") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    ragged = [
        f"line {number}: {len(cells)} cells"
        for number, cells in lines
        if len(cells) != len(columns)
    ]
    if ragged:
        raise errors.UserError(
            f"wanted {len(columns)} cells in each line of {path}, {len(ragged):,} have more or "
            f"fewer, the first {ragged[0]}",
            ragged,
        )
    return [
        Line(number=number, cells=dict(zip(columns, cells, strict=True))) for number, cells in lines
    ]


def _refuse_utf16(path: pathlib.Path) -> None:
    """What Excel calls "Unicode text" can't be told from nonsense without its byte order mark."""
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise errors.UserError(f"{path} is UTF-16: wanted UTF-8, save it as that")


def _require_columns(path: pathlib.Path, columns: Sequence[str], wanted: Sequence[str]) -> None:
    got = ", ".join(columns) or "nothing"
    missing = [name for name in wanted if name.lower() not in columns]
    if missing:
        raise errors.UserError(
            f"wanted the columns {', '.join(wanted)} in {path}, {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; there is {got}"
        )
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise errors.UserError(f"{path} has the column {', '.join(twice)} twice; there is {got}")
