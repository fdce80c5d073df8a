"""Compares runs on one page, or shows a data set's audit, or what augmentations make of pictures.

python -m jaxall.report runs/a runs/b --out site/
python -m jaxall.report data/b_all --out audit/
python -m jaxall.report --augmentations configs/densenet201.py --data FOLDER --out sheet.png
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from absl import flags
from etils import epy

from jaxall import cli
from jaxall.data import splits
from jaxall.errors import UserError

with epy.lazy_imports():  # each at its first use: --help and a wrong flag need none
    from jaxall import config_flag
    from jaxall.comparing import comparison, pages
    from jaxall.data import audit
    from jaxall.datasets import audits, sheets
    from jaxall.runs import folds, workdir

_AUGMENTATIONS = flags.DEFINE_string(
    "augmentations", "", "FILE.py with get_config(): draws its augmentations on its own pictures"
)
# Other commands have these flags too, and all may be imported into one process.
_DATA = flags.DEFINE_string(
    "data", "", "where the pictures are, if not where the config says", allow_override=True
)
_OUT = flags.DEFINE_string(
    "out",
    "",
    "the folder to write, or with --augmentations the picture; site, audit or augmentations.png "
    "if empty",
    allow_override=True,
)
_SPLIT = flags.DEFINE_enum(
    "split", "test", splits.SIDES, "the side whose scores are shown", allow_override=True
)


def augmentations(file: str, root: str, out: pathlib.Path) -> None:
    """Draws the augmentations of a config file.

    Raises:
        UserError: no such config or an impossible one, no augmentation in it, or no pictures.
    """
    config = config_flag.load(file)
    if root:
        config.data = dataclasses.replace(config.data, root=root)
    config.validate()
    sheets.augmentation_sheet(config, out, cli.console())


def compare(folders: Sequence[pathlib.Path], side: str, out: pathlib.Path) -> None:
    """Writes the page that compares runs, as they were scored on one side.

    Raises:
        UserError: a folder holds no run, one was never scored on that side, or `out` is another's.
    """
    pages.write(comparison.gather(folders, side), side, out, cli.console())


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    folders = [pathlib.Path(argument) for argument in arguments]
    prepared = [folder for folder in folders if _is_prepared(folder)]
    if folders and _AUGMENTATIONS.value:
        raise UserError(f"--augmentations takes no folders of runs; got {' '.join(arguments)}")
    if prepared and len(folders) > 1:
        raise UserError(
            f"{prepared[0]} is a data set, to be shown alone; got {len(folders)} folders"
        )
    if prepared:
        audits.show(prepared[0], cli.console(), pathlib.Path(_OUT.value or "audit"))
    elif folders:
        compare(folders, _SPLIT.value, pathlib.Path(_OUT.value or "site"))
    elif _AUGMENTATIONS.value:
        out = _picture(_OUT.value or "augmentations.png")
        augmentations(_AUGMENTATIONS.value, _DATA.value, out)
    else:
        raise UserError(
            "report wants something to show: folders of runs, or --augmentations FILE.py"
        )
    return 0


def _is_prepared(folder: pathlib.Path) -> bool:
    """Whether it is the folder of a data set that was audited, not that of a run."""
    is_run = workdir.exists(folder) or (folder / folds.SUMMARY).exists()
    return (folder / audit.FILE).is_file() and not is_run


def _picture(name: str) -> pathlib.Path:
    """The path of a PNG that can be written.

    Raises:
        UserError: its folder doesn't exist, or the name is another's.
    """
    out = pathlib.Path(name)
    if not out.parent.is_dir():
        raise UserError(f"--out: no folder {out.parent}")
    if out.is_dir():
        raise UserError(f"--out: {out} is a folder; wanted the name of a picture, as sheet.png")
    if out.suffix.lower() != ".png":
        raise UserError(f"--out: {out} has the name of something else; wanted that of a .png")
    return out


if __name__ == "__main__":
    cli.run(main)
