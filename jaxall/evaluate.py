"""Scores a run on one side of its split.

python -m jaxall.evaluate runs/a --split test
"""

import pathlib

from absl import flags
from etils import epy

from jaxall import cli
from jaxall.data import splits
from jaxall.errors import UserError

with epy.lazy_imports():  # each at its first use: --help and a wrong flag need none
    from jaxall import assembly, runtime, scoring, trained, workdir
    from jaxall.reporting import progress

_SPLIT = flags.DEFINE_enum("split", "test", splits.SIDES, "the side to score")
# predict has this flag too, and both may be imported into one process.
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "best", "best, latest, or a step", allow_override=True
)
_DATA = flags.DEFINE_string("data", "", "where the pictures are, if they have moved")


def evaluate(folder: pathlib.Path, side: str, checkpoint: str, root: str) -> None:
    """Predicts every picture of a side once; writes scores, predictions and plots, prints a table.

    Raises:
        UserError: no run, no such checkpoint, or other pictures than those of the split.
    """
    console = cli.console()
    run = workdir.load(folder)
    material = assembly.resume(run, root or run.config.data.root, (side,))
    model = trained.load(run, checkpoint)
    with progress.bar(console, f"{side} side", len(material.source(side))) as report:
        scored = scoring.score(run, material, model, side, report)
    scoring.show(scored, console)


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    if len(arguments) != 1:
        raise UserError(f"evaluate takes one run's folder; got {arguments or 'none'}")
    runtime.configure()
    evaluate(pathlib.Path(arguments[0]), _SPLIT.value, _CHECKPOINT.value, _DATA.value)
    return 0


if __name__ == "__main__":
    cli.run(main)
