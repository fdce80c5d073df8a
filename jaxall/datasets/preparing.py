"""What `prepare` does: a data set as it was downloaded becomes a folder that can be trusted."""

import dataclasses
import math
import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich import console as rich_console
from rich import table

from jaxall import __version__
from jaxall import data as data_lib
from jaxall.data import (
    archives,
    checking,
    dataset,
    decoding,
    duplicates,
    extracting,
    listing,
    prepared,
    quarantine,
)
from jaxall.errors import UserError, some
from jaxall.reporting import progress

LISTED = 5  # names of files left out that are printed
# data set -> the config to train it with; densenet201 for any other
CONFIGS = {"cnmc": "cnmc_efficientnet_b0", "drawn_smears": "quickstart"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be made.

    Attributes:
        source: an archive or a folder.
        out: the folder to make, absolute.
        settings: name, and what becomes of pictures that can't be read.
        near_duplicate: correlation above which two pictures are near duplicates.
        limits: what of the source is refused.
        records: TFDS's data_dir, where the pictures are written as records too; None for not.
    """

    source: pathlib.Path
    out: pathlib.Path
    settings: dataset.DataSettings
    near_duplicate: float
    limits: archives.Limits
    records: pathlib.Path | None = None

    def asked(self, source_sha256: str) -> dict[str, Any]:
        """By which the record of a finished folder is compared with this."""
        return {
            "data_set": self.settings.name,
            "source_sha256": source_sha256,
            "on_bad_image": self.settings.on_bad_image,
            "most_bad": self.settings.most_bad,
            "near_duplicate": self.near_duplicate,
        }


def prepare(order: Order, console: rich_console.Console) -> None:
    """Makes the folder, goes on with it, or makes sure that it is what it was.

    Raises:
        UserError: the source is refused, doesn't hold the data set or has too many pictures that
            can't be read; or the folder was made from something else, or was changed.
    """
    is_there = prepared.is_there(order.out)
    with archives.opened(order.source, order.limits) as container:
        with progress.download_bar(console, f"reading {order.source.name}") as report:
            contents = archives.survey(container, order.limits, report)
        with progress.download_bar(console, f"hashing {order.source.name}") as report:
            asked = order.asked(container.sha256(contents.entries, report))
        if is_there:
            with progress.download_bar(console, f"verifying {order.out.name}") as report:
                count = prepared.verify(order.out, asked, report)
            console.print(
                f"already prepared: {order.out}, its {count:,} files are as they were",
                soft_wrap=True,
            )
            _write_records(order, console)
            return
        _note_others(contents.others, console)
        with prepared.staged(order.out, asked["source_sha256"]) as folder:
            with progress.download_bar(console, "extracting") as report:
                extracted = extracting.extract(
                    container, contents, folder / prepared.PICTURES, report
                )
            kept = len(contents.members) - extracted.written
            before = f", {kept:,} were there from before" if kept else ""
            console.print(f"{extracted.written:,} files extracted{before}")
            try:
                found = _list(folder, order, console)
            except UserError:
                _note(console, f"the files stay in {folder} for another try; delete it if none is")
                raise
            name = order.source.resolve().name
            record = {**asked, "source": name, **found, "jaxall": __version__}
            prepared.finish(folder, order.out, extracted.sha256, record)
    _report(record, order, console)
    _write_records(order, console)


def _write_records(order: Order, console: rich_console.Console) -> None:
    """Writes the prepared pictures as TFDS records, if they are asked for and aren't there yet.

    Raises:
        UserError: other records are.
    """
    if order.records is None:
        return
    from jaxall.data import tfds_builders, tfds_source  # they take seconds to load

    name = order.settings.name
    data_set = data_lib.load(dataclasses.replace(order.settings, root=str(order.out)))
    data_set = data_set.without(_quarantined(data_set, order.out))
    target = tfds_builders.place(name, order.records)
    if target.exists():
        _require_same(tfds_source.load(target), data_set)
        console.print(f"TFDS records: already in {target}", soft_wrap=True)
        return
    count = len(data_set.rows) + len(data_set.unlabelled)
    with progress.bar(console, "writing TFDS records", count) as report:
        tfds_builders.build(data_set, order.records, name=name, progress=report)
    console.print(
        f"TFDS records: --config.data.name=tfds --config.data.root={target}", soft_wrap=True
    )


def _require_same(records: dataset.DataSet, data_set: dataset.DataSet) -> None:
    """Makes sure that records are those of a data set's files.

    Raises:
        UserError: they have other classes, rows or pictures.
    """
    line = f"{records.root} holds records of other pictures or classes: choose another folder"
    names = records.class_names == data_set.class_names
    if not names or (records.rows, records.unlabelled) != (data_set.rows, data_set.unlabelled):
        raise UserError(line)
    for row in (*data_set.rows, *data_set.unlabelled):
        mine, theirs = data_set.read(row), records.read(row)
        # BMP and TIFF have become PNG.
        if mine != theirs and not np.array_equal(decoding.decode(mine), decoding.decode(theirs)):
            raise UserError(f"{line}; the first that differs: {row.path}")


def _quarantined(data_set: dataset.DataSet, folder: pathlib.Path) -> set[str]:
    """Paths, relative to the data set's root, of the pictures that were left out."""
    left_out = quarantine.load(folder / quarantine.FILE)
    return {(folder / path).relative_to(data_set.root).as_posix() for path in left_out}


def _list(folder: pathlib.Path, order: Order, console: rich_console.Console) -> dict[str, Any]:
    """Reads every picture and writes the lists; returns what was found."""
    settings = order.settings
    root = str(folder / prepared.PICTURES)
    data_set = data_lib.load(dataclasses.replace(settings, root=root))
    if data_set.note:
        _note(console, data_set.note)
    count = len(data_set.rows) + len(data_set.unlabelled)
    try:
        with progress.bar(console, "reading pictures", count) as report:
            return listing.make(
                data_set,
                folder,
                most_bad=settings.most_bad if settings.on_bad_image == "quarantine" else None,
                near_duplicate=order.near_duplicate,
                progress=report,
            )
    except checking.UnreadablePicturesError as error:
        raise _unreadable(error, count, settings) from error


def _unreadable(
    error: checking.UnreadablePicturesError, count: int, settings: dataset.DataSettings
) -> UserError:
    if settings.on_bad_image == "quarantine":
        way_out = f"--most_bad allows {settings.most_bad:g} of them"
    else:
        way_out = "--on_bad_image=quarantine leaves them out"
    return UserError(
        f"can't read {len(error.details):,} of {count:,} pictures, nothing was prepared; "
        f"{way_out}; the first: {error.details[0]}",
        error.details,
    )


def _report(record: Mapping[str, Any], order: Order, console: rich_console.Console) -> None:
    shown = table.Table(box=None, padding=(0, 2, 0, 0))
    shown.add_column("class")
    shown.add_column("pictures", justify="right")
    shown.add_column("subjects", justify="right")
    for name, counts in record["classes"].items():
        subjects = f"{counts['subjects']:,}" if counts["subjects"] else "unknown"
        shown.add_row(name, f"{counts['pictures']:,}", subjects)
    if record["unlabelled"]:
        shown.add_row("(unlabelled)", f"{record['unlabelled']:,}", "")
    console.print(shown)
    repeats = record["duplicates"]
    console.print(
        f"duplicates: {repeats['pictures']:,} pictures in {repeats['groups']:,} groups, "
        f"{repeats['copies']:,} of them exact copies, {repeats['in_several_classes']:,} in several "
        f"classes{'; unlabelled pictures are counted too' if record['unlabelled'] else ''}"
    )
    console.print(f"quarantined: {record['quarantined']:,} pictures")
    console.print(f"outliers in light, focus or colour: {record['outliers']:,} pictures")
    for warning in record["warnings"]:
        console.print("audit:", warning, style="yellow", soft_wrap=True)
    for word, name in (("mind:", "caveat"), ("cite:", "citation")):
        if record[name]:
            console.print(word, record[name], soft_wrap=True)
    console.print(f"{order.out / prepared.MANIFEST} lists all", soft_wrap=True)
    console.print(f"look: python -m jaxall.report {shlex.quote(str(order.out))}", soft_wrap=True)
    console.print("next:", _next_command(record, order), soft_wrap=True)


def _next_command(record: Mapping[str, Any], order: Order) -> str:
    name = order.settings.name
    config = CONFIGS.get(name, "densenet201")
    parts = [
        *("python", "-m", "jaxall.train", "--config", f"configs/{config}.py"),
        *(f"--config.data.name={name}", f"--config.data.root={order.out}"),
    ]
    if record["quarantined"]:
        parts.append("--config.data.on_bad_image=quarantine")
        # Training counts labelled pictures only, of which the share may be larger.
        most_bad = max(order.settings.most_bad, record["quarantined_share"])
        parts.append(f"--config.data.most_bad={math.ceil(most_bad * 1e4) / 1e4:g}")
    if order.near_duplicate != duplicates.NEAR:
        parts.append(f"--config.split.near_duplicate={order.near_duplicate:g}")
    return shlex.join([*parts, "--workdir", f"runs/{name}"])


def _note_others(others: tuple[str, ...], console: rich_console.Console) -> None:
    if others:
        names = some(others, most=LISTED)
        _note(console, f"left out what is neither picture nor text, {len(others):,}: {names}")


def _note(console: rich_console.Console, text: str) -> None:
    console.print("note:", text, style="yellow", soft_wrap=True)
