"""Shows the audit in a folder: tables for the terminal, contact sheets of what to look at."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich import console as rich_console

from jaxall import data as data_lib
from jaxall.data import audit, dataset, decoding
from jaxall.errors import UserError, reason
from jaxall.reporting import audits, contact_sheets
from jaxall.runs import workdir

_EMPTY = np.full((1, 1, 3), 255, np.uint8)


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
        settings: where the pictures are; None for those of the run, or for the folder that the
            audit names.

    Raises:
        UserError: there is no audit, or its pictures aren't there any more.
    """
    found = audit.load(folder / audit.FILE)
    console.print(audits.summary(found))
    if settings is None and workdir.exists(folder):
        settings = workdir.load(folder).config.data
    data_set = _data_set(found, settings, folder)
    written = []
    for name, cells in audits.sheets(found).items():
        images = [_picture(data_set, path) if path else _EMPTY for path, _ in cells]
        written.append(out / f"{name}.png")
        captions = [caption for _, caption in cells]
        contact_sheets.draw(images, captions, written[-1], audits.COLUMNS)
        console.print(f"  {written[-1]}", soft_wrap=True)
    return written


def _data_set(
    found: Mapping[str, Any], settings: dataset.DataSettings | None, folder: pathlib.Path
) -> dataset.DataSet:
    if settings is not None:
        return data_lib.load(settings)
    root = folder / found["root"]  # of a prepared data set the folder itself
    return dataset.DataSet(name=found["name"], root=root, class_names=(), rows=())


def _picture(data_set: dataset.DataSet, path: str) -> np.ndarray:
    try:
        return decoding.decode(data_set.read(dataset.Row(path=path, label=-1)))
    except (OSError, KeyError, decoding.UndecodableError) as error:
        raise UserError(f"can't read {path} under {data_set.root}: {reason(error)}") from error
