"""Class probabilities for any pictures.

python -m jaxall.predict runs/a smears/ one.png --out predictions.csv
"""

from __future__ import annotations

import os
import pathlib
import sys

from absl import flags
from etils import epy

from jaxall import cli, model_flags
from jaxall.errors import UserError, reason

with epy.lazy_imports():  # each at its first use: --help and a wrong flag need none
    import numpy as np

    from jaxall import runtime
    from jaxall.data import decoding, pipeline
    from jaxall.evaluation import predictions
    from jaxall.reporting import progress
    from jaxall.runs import trained, workdir
    from jaxall.training import checkpoints
    from jaxall.training import views as views_lib

_CHECKPOINT, _TTA = model_flags.checkpoint(), model_flags.views()
# port and evaluate have this flag too, and all may be imported into one process.
_OUT = flags.DEFINE_string(
    "out", "", "the table to write; predictions.csv if empty", allow_override=True
)
_WEIGHTS = model_flags.weights()
UNREADABLE = 2  # exit code where the table was written but pictures are missing from it


def find_pictures(paths: list[str]) -> list[pathlib.Path]:
    """The files named, and all pictures under the folders named.

    Raises:
        UserError: a path does not exist, or there is no picture at all.
    """
    found: list[pathlib.Path] = []
    for path in map(pathlib.Path, paths):
        if not path.exists():
            raise UserError(f"no file or folder at {path}")
        found += decoding.find_images(path) if path.is_dir() else [path]
    if not found:
        raise UserError(
            f"no pictures under {', '.join(paths)}: wanted {', '.join(decoding.IMAGE_SUFFIXES)}"
        )
    return list(dict.fromkeys(found))


def readable(paths: list[pathlib.Path]) -> tuple[list[str], list[str]]:
    """Paths of the pictures that decode, and lines "path: reason" for those that don't."""
    good, bad = [], []
    for path in paths:
        try:
            decoding.decode(decoding.read(path))
            good.append(str(path))
        except (OSError, decoding.UndecodableError) as error:
            bad.append(f"{path}: {reason(error)}")
    return good, bad


def predict(
    folder: pathlib.Path,
    paths: list[str],
    checkpoint: str,
    views: str = model_flags.VIEWS,
    weights: str = model_flags.WEIGHTS,
) -> tuple[predictions.Predictions, list[str]]:
    """Probabilities for the pictures that decode, and a line for each that does not.

    Raises:
        UserError: no run, no such checkpoint, views or weights, no pictures, or none that decodes.
    """
    console = cli.console()
    run = workdir.load(folder)
    if others := [path for path in paths if workdir.exists(pathlib.Path(path))]:
        raise UserError(f"predict takes one run, then pictures; {others[0]} is a run too")
    good, bad = readable(find_pictures(paths))
    if not good:
        raise UserError(f"none of {len(bad)} pictures can be read", bad)
    model = trained.load(run, checkpoint, views, weights)
    source = pipeline.PictureSource(
        paths=tuple(good), labels=[-1] * len(good), preprocessing=run.preprocessing
    )
    with progress.bar(console, "predicting", len(good)) as report:
        return model.predict(source, tuple(good), report), bad


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    if len(arguments) < 2:
        raise UserError(f"predict takes a run's folder and pictures or folders; got {arguments}")
    out = pathlib.Path(_OUT.value or "predictions.csv")
    if not out.parent.is_dir():
        raise UserError(f"--out: no folder {out.parent}")
    if out.is_dir():
        raise UserError(f"--out: {out} is a folder; wanted the name of a table")
    if out.exists() and not out.is_file():
        raise UserError(f"--out: {out} is a device or a pipe; wanted the name of a table")
    if out.suffix.lower() in decoding.IMAGE_SUFFIXES:
        raise UserError(f"--out: {out} has the name of a picture; wanted that of a table, as a.csv")
    views_lib.find(_TTA.value)
    checkpoints.check_weights(_WEIGHTS.value)
    runtime.configure()
    predictions, bad = predict(
        pathlib.Path(arguments[0]),
        arguments[1:],
        _CHECKPOINT.value,
        _TTA.value,
        _WEIGHTS.value,
    )
    predictions.save_csv(os.path.realpath(out))  # through a link, not in its place
    counts = np.bincount(predictions.predicted, minlength=len(predictions.class_names))
    console = cli.console()
    for name, count in zip(predictions.class_names, counts.tolist(), strict=True):
        console.print(f"{count:8,} {name}")
    console.print(f"{len(predictions.names):8,} pictures: {out}", soft_wrap=True)
    console.print("for research only, not for diagnosis", style="yellow")
    if bad:
        print(f"error: {len(bad)} pictures can't be read and are not in {out}:", file=sys.stderr)
        print("\n".join(f"  {line}" for line in bad), file=sys.stderr)
        return UNREADABLE
    return 0


if __name__ == "__main__":
    cli.run(main)
