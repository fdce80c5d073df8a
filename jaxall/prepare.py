"""Makes a data set ready from what was downloaded: extracted, checked and listed.

python -m jaxall.prepare b_all leukemia.zip --out data/b_all
"""

from __future__ import annotations

import math
import pathlib

from absl import flags
from etils import epy

from jaxall import cli, errors, files
from jaxall.data import dataset, duplicates
from jaxall.errors import UserError

with epy.lazy_imports():  # each at its first use: --help and a wrong flag need none
    from jaxall import data as data_lib
    from jaxall.data import archives
    from jaxall.datasets import preparing

_DEFAULTS = dataset.DataSettings()
# port and predict have this flag too, and all may be imported into one process.
_OUT = flags.DEFINE_string("out", "", "the folder to make", allow_override=True)
_ON_BAD_IMAGE = flags.DEFINE_enum(
    "on_bad_image",
    _DEFAULTS.on_bad_image,
    dataset.ON_BAD_IMAGE,
    "what becomes of pictures that can't be read",
)
_MOST_BAD = flags.DEFINE_float(
    "most_bad", _DEFAULTS.most_bad, "share of such pictures that is put up with"
)
_NEAR_DUPLICATE = flags.DEFINE_float(
    "near_duplicate", duplicates.NEAR, "correlation above which two pictures are near duplicates"
)
_TFDS = flags.DEFINE_string(
    "tfds", "", "a folder, TFDS's data_dir: the pictures are written there as records too"
)
_MOST_GIB = flags.DEFINE_float("most_gib", 64.0, "GiB that an archive may unpack to")


def _order(arguments: list[str]) -> preparing.Order:
    """The command line, made sure of.

    Raises:
        UserError: names everything that is wrong with it.
    """
    if len(arguments) != 2:
        got = " ".join(arguments) or "none"
        raise UserError(f"prepare takes a data set's name and an archive or folder; got {got}")
    name, source = arguments[0], files.home(arguments[1])
    problems = []
    if not arguments[1]:
        problems.append("the archive or folder has an empty name")
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
    out = _resolved(_OUT.value, "--out")
    records = _resolved(_TFDS.value, "--tfds") if _TFDS.value else None
    if source.is_dir() and out.is_relative_to(source.resolve()):
        raise UserError(f"--out: {out} lies in the folder that it is made from, {source}")
    if source.is_dir() and records and records.is_relative_to(source.resolve()):
        raise UserError(f"--tfds: {records} lies in the folder that is prepared, {source}")
    if records and records.is_relative_to(out):
        raise UserError(f"--tfds: {records} lies in the folder of --out, {out}; wanted another")
    return preparing.Order(
        source=source,
        out=out,
        settings=dataset.DataSettings(
            name=name, on_bad_image=_ON_BAD_IMAGE.value, most_bad=_MOST_BAD.value
        ),
        near_duplicate=_NEAR_DUPLICATE.value,
        limits=archives.Limits(total=int(_MOST_GIB.value * 2**30)),
        records=records,
    )


def _resolved(name: str, flag: str) -> pathlib.Path:
    if not name.isprintable():
        raise UserError(f"{flag}: {name!r} isn't plain text")
    try:
        return files.home(name).resolve()
    except (OSError, RuntimeError) as error:  # links in a circle, of which Python 3.13 says nothing
        raise UserError(f"{flag}: {name} is a link that leads to itself") from error


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    preparing.prepare(_order(arguments), cli.console())
    return 0


if __name__ == "__main__":
    cli.run(main)
