"""Shows the audit in a folder: tables for the terminal, contact sheets of what to look at."""

import pathlib

from rich import console as rich_console

from jaxall import data as data_lib
from jaxall import workdir
from jaxall.data import audit, dataset, decoding
from jaxall.errors import UserError
from jaxall.reporting import audits, plots


def show(
    folder: pathlib.Path,
    console: rich_console.Console,
    out: pathlib.Path,
    settings: dataset.DataSettings | None = None,
) -> list[pathlib.Path]:
    """Prints an audit and writes its contact sheets; returns their paths.

    Args:
        folder: a run's, or a prepared data set's: one that holds `audit.json`.
        console: the terminal.
        out: folder for the sheets.
        settings: where the pictures are; None for those of the run, or of the audit itself.

    Raises:
        UserError: there is no audit, or its pictures aren't there any more.
    """
    found = audit.load(folder / audit.FILE)
    console.print(audits.summary(found))
    sheets = audits.sheets(found)
    if not sheets:
        return []
    if settings is None and workdir.exists(folder):
        settings = workdir.load(folder).config.data
    if settings is None:
        settings = dataset.DataSettings(name=found["name"], root=found["root"])
    data_set = data_lib.load(settings)
    rows = {row.path: row for row in data_set.rows}
    written = []
    for name, cells in sheets.items():
        missing = [path for path, _ in cells if path not in rows]
        if missing:
            raise UserError(
                f"{folder / audit.FILE} names {len(missing)} pictures that aren't under "
                f"{data_set.root}, the first: {missing[0]}"
            )
        try:
            images = [decoding.decode(data_set.read(rows[path])) for path, _ in cells]
        except (OSError, decoding.UndecodableError) as error:
            raise UserError(f"can't read a picture under {data_set.root}: {error}") from error
        written.append(out / f"{name}.png")
        plots.contact_sheet(images, [caption for _, caption in cells], written[-1])
        console.print(f"  {written[-1]}", soft_wrap=True)
    return written
