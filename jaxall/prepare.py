"""Makes a data set ready from what was downloaded: extracted, checked and listed.

python -m jaxall.prepare b_all leukemia.zip --out data/b_all
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

from absl import flags
from etils import epy
from rich import console as rich_console
from rich import table

from jaxall import __version__, cli, errors, files
from jaxall.data import dataset
from jaxall.errors import UserError

with epy.lazy_imports():  # each at its first use: --help and a wrong flag need none
    from jaxall import data as data_lib
    from jaxall.data import (
        archives,
        checking,
        extracting,
        listing,
        prepared,
    )
    from jaxall.reporting import progress

# port and predict have this flag too, and all may be imported into one process.
_OUT = flags.DEFINE_string("out", "", "the folder to make", allow_override=True)
_ON_BAD_IMAGE = flags.DEFINE_enum(
    "on_bad_image", "stop", dataset.ON_BAD_IMAGE, "what becomes of pictures that can't be read"
)
_MOST_BAD = flags.DEFINE_float("most_bad", 0.01, "share of such pictures that is put up with")
_NEAR_DUPLICATE = flags.DEFINE_float(
    "near_duplicate", 0.8, "correlation above which two pictures are near duplicates"
)
_MOST_GIB = flags.DEFINE_float("most_gib", 64.0, "GiB that an archive may unpack to")
LISTED = 5  # names of files left out that are printed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be made.

    Attributes:
        source: an archive or a folder.
        out: the folder to make, absolute.
        settings: name, and what becomes of pictures that can't be read.
        near_duplicate: correlation above which two pictures are near duplicates.
        limits: what of the source is refused.
    """

    source: pathlib.Path
    out: pathlib.Path
    settings: dataset.DataSettings
    near_duplicate: float
    limits: archives.Limits

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
        "classes"
    )
    console.print(f"quarantined: {record['quarantined']:,} pictures")
    for word, name in (("mind:", "caveat"), ("cite:", "citation")):
        if record[name]:
            console.print(word, record[name], soft_wrap=True)
    console.print(f"{order.out / prepared.MANIFEST} lists all", soft_wrap=True)
    console.print("next:", _next_command(record, order), soft_wrap=True)


def _next_command(record: Mapping[str, Any], order: Order) -> str:
    name = order.settings.name
    config = "quickstart" if name == "drawn_smears" else "densenet201"
    parts = [
        *("python", "-m", "jaxall.train", "--config", f"configs/{config}.py"),
        *(f"--config.data.name={name}", f"--config.data.root={order.out}"),
    ]
    if record["quarantined"]:
        parts.append("--config.data.on_bad_image=quarantine")
        parts.append(f"--config.data.most_bad={order.settings.most_bad:g}")
    return shlex.join([*parts, "--workdir", f"runs/{name}"])


def _note_others(others: tuple[str, ...], console: rich_console.Console) -> None:
    if others:
        names = ", ".join(others[:LISTED]) + (", ..." if len(others) > LISTED else "")
        _note(console, f"left out what is neither picture nor text, {len(others):,}: {names}")


def _note(console: rich_console.Console, text: str) -> None:
    console.print("note:", text, style="yellow", soft_wrap=True)


def _order(arguments: list[str]) -> Order:
    """The command line, made sure of.

    Raises:
        UserError: names everything that is wrong with it.
    """
    if len(arguments) != 2:
        got = " ".join(arguments) or "none"
        raise UserError(f"prepare takes a data set's name and an archive or folder; got {got}")
    name, source = arguments[0], files.home(arguments[1])
    problems = []
    if name not in data_lib.DATA_SETS:
        problems.append(
            f"no data set is called {name!r}, there are {', '.join(data_lib.DATA_SETS)}"
        )
    if not _OUT.value:
        problems.append("--out names the folder to make; got none")
    if not 0 < _NEAR_DUPLICATE.value <= 1:
        problems.append(f"--near_duplicate is above 0 and at most 1; got {_NEAR_DUPLICATE.value:g}")
    if not 0 <= _MOST_BAD.value < 1:
        problems.append(f"--most_bad is at least 0 and below 1; got {_MOST_BAD.value:g}")
    if not 0 < _MOST_GIB.value < math.inf:
        problems.append(f"--most_gib is above 0; got {_MOST_GIB.value:g}")
    errors.refuse(problems)
    out = files.home(_OUT.value).resolve()
    if source.is_dir() and out.is_relative_to(source.resolve()):
        raise UserError(f"--out: {out} lies in the folder that it is made from, {source}")
    return Order(
        source=source,
        out=out,
        settings=dataset.DataSettings(
            name=name, on_bad_image=_ON_BAD_IMAGE.value, most_bad=_MOST_BAD.value
        ),
        near_duplicate=_NEAR_DUPLICATE.value,
        limits=archives.Limits(total=int(_MOST_GIB.value * 2**30)),
    )


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    prepare(_order(arguments), cli.console())
    return 0


if __name__ == "__main__":
    cli.run(main)
