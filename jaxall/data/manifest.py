"""The list of all pictures of a prepared data set, and what is known of each.

It is a table that the data set "folder" reads; people and spreadsheets read it too.
"""

import csv
import dataclasses
import io
import pathlib
from collections.abc import Sequence

from jaxall import errors, files
from jaxall.data import checking, dataset, decoding, duplicates, quality

QUALITY = tuple(field.name for field in dataclasses.fields(quality.Quality))
COLUMNS = (
    *("path", "class", "label", "subject", "number", "fold", "split", "group"),
    *("bytes", "sha256", "pixels_sha256", "format", "mode", "width", "height"),
    *QUALITY,
    *("duplicates", "reason"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """One line.

    Attributes:
        row: its path is relative to the manifest's folder.
        class_name: of the row's label, "" where it is -1.
        size: of the file, in bytes.
        sha256: of the file's bytes.
        pixels: sha256 of the decoded picture and its size.
        header: what the file says of itself.
        quality: light, contrast, focus and colour, to six digits.
        duplicates: path of the first picture of those that repeat each other, "" if none does.
        reason: "exact duplicate of PATH", "near duplicate of PATH (0.971)" or "".
    """

    row: dataset.Row
    class_name: str
    size: int
    sha256: str
    pixels: str
    header: decoding.Header
    quality: quality.Quality
    duplicates: str = ""
    reason: str = ""


def describe(
    data_set: dataset.DataSet, checked: checking.Checked, found: duplicates.Duplicates
) -> tuple[Picture, ...]:
    """The lines of a table's rows, in their order."""
    first = {position: data_set.rows[group[0]].path for group in found.groups for position in group}
    looked = zip(data_set.rows, checked.looked, found.reasons, strict=True)
    return tuple(
        Picture(
            row=row,
            class_name=data_set.class_names[row.label] if row.label >= 0 else "",
            size=one.size,
            sha256=one.sha256,
            pixels=one.pixels,
            header=one.header,
            quality=quality.Quality(
                **{name: float(f"{getattr(one.quality, name):.6g}") for name in QUALITY}
            ),
            duplicates=first.get(position, ""),
            reason=reason,
        )
        for position, (row, one, reason) in enumerate(looked)
    )


def save(pictures: Sequence[Picture], path: pathlib.Path) -> None:
    """Writes a line for each picture, all or nothing."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    writer.writerows(map(_cells, pictures))
    files.write(path, buffer.getvalue())


def load(path: pathlib.Path) -> tuple[Picture, ...]:
    """The inverse of `save`; further columns are passed over.

    Raises:
        UserError: no such file or not of this kind (its details name every line that isn't).
    """
    try:
        # Spreadsheets put a byte order mark before what they save.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = tuple(reader.fieldnames or ())
            lines = list(reader)
    except (OSError, csv.Error) as error:
        raise errors.UserError(f"can't read the manifest {path}: {error}") from error
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise errors.UserError(
            f"wanted the columns {','.join(COLUMNS)} in {path}, {', '.join(missing)} missing"
        )
    pictures: list[Picture] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        try:
            pictures.append(_picture(line))
        except (TypeError, ValueError) as error:
            problems.append(f"picture {number}: {error}")
    if problems:
        raise errors.UserError(
            f"{len(problems):,} lines of {path} can't be read, the first: {problems[0]}", problems
        )
    return tuple(pictures)


def _cells(picture: Picture) -> tuple[object, ...]:
    row, header = picture.row, picture.header
    return (
        *(row.path, picture.class_name, row.label, row.subject),
        *(row.number, row.fold, row.side, row.group),
        *(picture.size, picture.sha256, picture.pixels),
        *(header.format, header.mode, header.width, header.height),
        *dataclasses.astuple(picture.quality),
        *(picture.duplicates, picture.reason),
    )


def _picture(line: dict[str, str]) -> Picture:
    if None in line or None in line.values():  # where csv puts the cells too many, and too few
        raise ValueError("it has more or fewer cells than the heading")
    return Picture(
        row=dataset.Row(
            path=line["path"],
            label=int(line["label"]),
            subject=line["subject"],
            number=int(line["number"]),
            fold=line["fold"],
            side=line["split"],
            group=line["group"],
        ),
        class_name=line["class"],
        size=int(line["bytes"]),
        sha256=line["sha256"],
        pixels=line["pixels_sha256"],
        header=decoding.Header(
            format=line["format"],
            mode=line["mode"],
            width=int(line["width"]),
            height=int(line["height"]),
        ),
        quality=quality.Quality(**{name: float(line[name]) for name in QUALITY}),
        duplicates=line["duplicates"],
        reason=line["reason"],
    )
