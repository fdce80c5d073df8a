"""Data sets as TFDS records, written and read without TensorFlow.

`build` writes a data set that is loaded already, `jaxall.data.tfds_source` reads it back. Importing
this package registers the builders with TFDS, by name, for archives that are extracted already:

    builder = tfds.builder("b_all", data_dir=OUT)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=FOLDER))
    pictures = tfds.data_source("b_all", split="train", data_dir=OUT)

TFDS's own command does the same where TensorFlow and mlcroissant are installed, which 4.9.10
imports at its start, whatever it is told to do:

    tfds build b_all --imports=jaxall.data.tfds_builders --manual_dir=FOLDER --data_dir=OUT
"""

import logging
import pathlib
import tempfile
from collections.abc import Callable

from jaxall import errors
from jaxall.data import dataset
from jaxall.data.tfds_builders import b_all, cnmc, folder, table

BUILDERS: dict[str, type[table.TableBuilder]] = {
    builder.name: builder for builder in (b_all.BAll, cnmc.Cnmc, folder.Folder)
}


def builder_of(name: str) -> type[table.TableBuilder]:
    """Of a data set that `jaxall.data` knows; one without a builder of its own is a "folder"."""
    return BUILDERS.get(name, folder.Folder)


def place(name: str, out: pathlib.Path) -> pathlib.Path:
    """The folder of a data set's records in TFDS's data_dir."""
    builder = builder_of(name)
    return pathlib.Path(out) / builder.name / str(builder.VERSION)


def build(
    data_set: dataset.DataSet,
    out: pathlib.Path,
    *,
    name: str = "",
    progress: Callable[[int], None] | None = None,
) -> pathlib.Path:
    """Writes a data set as records; a data set without a builder of its own becomes a "folder".

    The result appears whole or not at all: until then it lies beside its place, in a folder
    called incomplete.

    Args:
        data_set: the table and its pictures.
        out: TFDS's `data_dir`; made if need be.
        name: what `jaxall.data` knows it by; "" for its own name, which a table of one's own may
            share with a published data set.
        progress: told how many pictures are written after each, of
            `len(data_set.rows) + len(data_set.unlabelled)`.

    Returns:
        The folder of this version, out/NAME/VERSION: what `tfds_source.load` reads.

    Raises:
        UserError: no rows, a picture that can't be read, or `out` can't be written or has it.
    """
    builder, target = builder_of(name or data_set.name), place(name or data_set.name, out)
    if target.exists():
        raise errors.UserError(f"wanted a new folder for the records, {target} is there already")
    dataset.require_every_class(data_set)
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory() as nothing_is_downloaded:
            builder(data_set=data_set, progress=progress, data_dir=str(out)).download_and_prepare(
                download_dir=nothing_is_downloaded
            )
    except (OSError, RuntimeError) as error:  # array_record's own of a full disk is the second
        reason = errors.reason(error).splitlines()[0]
        raise errors.UserError(f"can't write {target}: {reason}") from error
    finally:
        logger.setLevel(level)
    return target
