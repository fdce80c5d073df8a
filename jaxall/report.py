"""Shows what can't be read from numbers.

python -m jaxall.report --augmentations configs/densenet201.py --data FOLDER --out sheet.png
"""

from __future__ import annotations

import dataclasses
import pathlib

from absl import flags
from etils import epy

from jaxall import cli
from jaxall.errors import UserError

with epy.lazy_imports():  # each at its first use: --help and a wrong flag need none
    from jaxall import config_flag, sheets

_AUGMENTATIONS = flags.DEFINE_string(
    "augmentations", "", "FILE.py with get_config(): draws its augmentations on its own pictures"
)
# Other commands have these flags too, and all may be imported into one process.
_DATA = flags.DEFINE_string(
    "data", "", "where the pictures are, if not where the config says", allow_override=True
)
_OUT = flags.DEFINE_string(
    "out", "", "the picture to write; augmentations.png if empty", allow_override=True
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


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    if arguments:
        raise UserError(f"report takes flags only; got {' '.join(arguments)}")
    if not _AUGMENTATIONS.value:
        raise UserError("report wants something to show: --augmentations FILE.py")
    augmentations(_AUGMENTATIONS.value, _DATA.value, _picture(_OUT.value or "augmentations.png"))
    return 0


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
