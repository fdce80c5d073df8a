"""Tables as files: CSV for spreadsheets, JSON for programs."""

import csv
import dataclasses
import io
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxall import files


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of plain values.

    Attributes:
        columns: their names.
        rows: as many values each.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def of_records(records: Sequence[Mapping[str, Any]]) -> Table:
    """A column for each key that any record has, in the order in which they are met.

    What is nested is left out; what a record lacks is None.
    """
    columns = dict.fromkeys(
        key
        for record in records
        for key, value in record.items()
        if not isinstance(value, Mapping | list | tuple)
    )
    rows = tuple(tuple(record.get(key) for key in columns) for record in records)
    return Table(columns=tuple(columns), rows=rows)


def save(table: Table, stem: pathlib.Path) -> None:
    """Writes STEM.csv and STEM.json, a list of records; what is no number is empty and null."""
    rows = [[_finite(value) for value in row] for row in table.rows]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(table.columns)
    writer.writerows(rows)
    files.write(stem.with_name(f"{stem.name}.csv"), buffer.getvalue())
    records = [dict(zip(table.columns, row, strict=True)) for row in rows]
    # Names of files may hold bytes that are no text: escaped, as Python spells them.
    files.write(stem.with_name(f"{stem.name}.json"), json.dumps(records, indent=1) + "\n")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
