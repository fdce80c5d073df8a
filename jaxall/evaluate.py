"""Scores a run, or several together as an ensemble, on one side of the split.

python -m jaxall.evaluate runs/a --split test
python -m jaxall.evaluate runs/a runs/b runs/c --ensemble mean --tta dihedral8
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from absl import flags
from etils import epy

from jaxall import cli, files, model_flags
from jaxall.errors import UserError

with epy.lazy_imports():  # each at its first use: --help and a wrong flag need none
    from jaxall import runtime
    from jaxall.evaluation import ensemble as ensemble_lib
    from jaxall.reporting import progress
    from jaxall.runs import assembly, ensembles, scoring, trained, workdir
    from jaxall.training import checkpoints
    from jaxall.training import views as views_lib

# The words of --split and --ensemble are `splits.SIDES` and `ensemble.BY`, as a test makes sure: to
# read them there would load every data set for the sake of --help.
_SPLIT = flags.DEFINE_enum("split", "test", ("train", "validation", "test"), "the side to score")
_CHECKPOINT, _TTA = model_flags.checkpoint(), model_flags.views()
_WEIGHTS = model_flags.weights()
# predict and port have this flag too, and all may be imported into one process.
_OUT = flags.DEFINE_string(
    "out",
    "",
    "the folder to write; if empty in evaluation/ of the run, of several of the first that is kept",
    allow_override=True,
)
_DATA = flags.DEFINE_string("data", "", "where the pictures are, if they have moved")
_ENSEMBLE = flags.DEFINE_enum(
    "ensemble",
    None,
    ("mean", "logits", "vote", "kappa"),
    "how several runs predict together: by the mean of their probabilities or logits, by vote, or "
    "by the mean weighted by their kappa on validation",
)
_KEEP = flags.DEFINE_integer(
    "keep", 0, "of an ensemble so many runs, the best on validation; 0 for all", lower_bound=0
)


def evaluate(
    folder: pathlib.Path,
    side: str,
    checkpoint: str,
    root: str,
    views: str = model_flags.VIEWS,
    out: pathlib.Path | None = None,
    weights: str = model_flags.WEIGHTS,
) -> None:
    """Predicts every picture of a side once; writes scores, predictions and plots, prints a table.

    Raises:
        UserError: no run, no such checkpoint, views or weights, other pictures than those of the
            split, or `out` is another's.
    """
    if out:
        scoring.check_target(out)
    console = cli.console()
    run = workdir.load(folder)
    material = assembly.resume(run, root or run.config.data.root, (side,))
    model = trained.load(run, checkpoint, views, weights)
    with progress.bar(console, f"{side} side", len(material.source(side))) as report:
        scored = scoring.score(run, material, model, side, report, out)
    scoring.show(scored, console)


def evaluate_together(
    folders: Sequence[pathlib.Path],
    side: str,
    checkpoint: str,
    root: str,
    *,
    by: str,
    keep: int = 0,
    views: str = model_flags.VIEWS,
    out: pathlib.Path | None = None,
    weights: str = model_flags.WEIGHTS,
) -> None:
    """As `evaluate`, of an ensemble; `by` is one of `evaluation.ensemble.BY`.

    Weights, and which `keep` runs are kept (0 for all), follow from the validation side alone.

    Raises:
        UserError: as `evaluate`; or a run is there twice, the runs don't have the same pictures on
            that side, none is better than chance on validation, or validation is to be scored and
            chosen by.
    """
    is_judged = by == ensemble_lib.KAPPA or keep > 0
    if is_judged and side == "validation":
        raise UserError(
            "--split=validation: --ensemble=kappa and --keep choose by the validation side, whose "
            "scores would flatter; wanted --split=test"
        )
    _require_different(folders)
    if out:
        scoring.check_target(out)
    runs = [workdir.load(folder) for folder in folders]
    sides = (side, "validation") if is_judged else (side,)
    ensembles.require_same_pictures(runs, side)
    members = [_member(run, sides, checkpoint, root, views, weights) for run in runs]
    scored = ensembles.score(members, side, by=by, keep=keep, target=out)
    console = cli.console()
    scoring.show(scored, console)
    console.print("\n".join(ensembles.describe(scored.scores)), soft_wrap=True)


def _require_different(folders: Sequence[pathlib.Path]) -> None:
    resolved = [folder.resolve() for folder in folders]
    for place, folder in enumerate(folders):
        if resolved[place] in resolved[:place]:
            first = folders[resolved.index(resolved[place])]
            also = f", as {first}" if first != folder else ""
            raise UserError(f"an ensemble is of different runs; {folder} is there twice{also}")


def _member(
    run: workdir.Run,
    sides: Sequence[str],
    checkpoint: str,
    root: str,
    views: str,
    weights: str,
) -> ensembles.Member:
    """One model of an ensemble, with what it says of each side."""
    console, told = cli.console(), {}
    material = assembly.resume(run, root or run.config.data.root, sides)
    model = trained.load(run, checkpoint, views, weights)
    for side in sides:
        count = len(material.source(side))
        with progress.bar(console, f"{run.workdir}: {side} side", count) as report:
            told[side] = scoring.predict(material, model, side, report)
    return ensembles.Member(run, model.step, views, weights, told)


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    if not arguments or (len(arguments) > 1 and _ENSEMBLE.value is None):
        hint = "; several need --ensemble=mean, logits, vote or kappa" if arguments else ""
        raise UserError(f"evaluate takes one run's folder; got {arguments or 'none'}{hint}")
    if _KEEP.value and _ENSEMBLE.value is None:
        raise UserError("--keep chooses among the runs of an ensemble; wanted --ensemble too")
    views_lib.find(_TTA.value)
    checkpoints.check_weights(_WEIGHTS.value)
    runtime.configure()
    folders = [pathlib.Path(argument) for argument in arguments]
    options = _SPLIT.value, _CHECKPOINT.value, _DATA.value
    out = files.home(_OUT.value) if _OUT.value else None
    if _ENSEMBLE.value is None:
        evaluate(folders[0], *options, _TTA.value, out, _WEIGHTS.value)
    else:
        settings = {"by": _ENSEMBLE.value, "keep": _KEEP.value, "views": _TTA.value, "out": out}
        settings |= {"weights": _WEIGHTS.value}
        evaluate_together(folders, *options, **settings)
    return 0


if __name__ == "__main__":
    cli.run(main)
