"""Scores a run, or several together as an ensemble, on one side of the split.

python -m jaxall.evaluate runs/a --split test
python -m jaxall.evaluate runs/a runs/b runs/c --ensemble mean --tta dihedral8
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from absl import flags
from etils import epy

from jaxall import cli
from jaxall.data import splits
from jaxall.errors import UserError

with epy.lazy_imports():  # each at its first use: --help and a wrong flag need none
    from jaxall import assembly, runtime, scoring, trained, workdir
    from jaxall.evaluation import ensemble as ensemble_lib
    from jaxall.evaluation import predictions
    from jaxall.reporting import progress
    from jaxall.training import checkpoints
    from jaxall.training import views as views_lib

_SPLIT = flags.DEFINE_enum("split", "test", splits.SIDES, "the side to score")
# predict and port have these flags too, and all may be imported into one process.
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "best", "best, latest, or a step", allow_override=True
)
_TTA = flags.DEFINE_string(
    "tta",
    "none",
    "views whose probabilities are averaged: none, dihedral8, rotations:K",
    allow_override=True,
)
_WEIGHTS = flags.DEFINE_string(
    "weights",
    "judged",
    "raw, ema (averages over the steps, where train.ema is on), or judged: those of the two that "
    "validation scored",
    allow_override=True,
)
_OUT = flags.DEFINE_string(
    "out", "", "the folder to write; in the (first) run's evaluation/ if empty", allow_override=True
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
    views: str = "none",
    out: pathlib.Path | None = None,
    weights: str = "judged",
) -> None:
    """Predicts every picture of a side once; writes scores, predictions and plots, prints a table.

    Raises:
        UserError: no run, no such checkpoint, views or weights, or other pictures than those of the
            split.
    """
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
    views: str = "none",
    out: pathlib.Path | None = None,
    weights: str = "judged",
) -> None:
    """As `evaluate`, of an ensemble; `by` is one of `evaluation.ensemble.BY`.

    Weights, and which `keep` runs are kept (0 for all), follow from the validation side alone.

    Raises:
        UserError: as `evaluate`; or the runs don't have the same pictures on that side, or none is
            better than chance on validation, or validation is to be scored and chosen by.
    """
    is_judged = by == ensemble_lib.KAPPA or keep > 0
    if is_judged and side == "validation":
        raise UserError(
            "--split=validation: --ensemble=kappa and --keep choose by the validation side, whose "
            "scores would flatter; wanted --split=test"
        )
    runs = [workdir.load(folder) for folder in folders]
    known = scoring.facts(runs[0], side)
    sides = (side, "validation") if is_judged else (side,)
    options = checkpoint, root, views, weights
    members = [_predictions(run, sides, *options) for run in runs]
    if keep:
        best = ensemble_lib.select([member["validation"] for member in members], most=keep)
        runs, members = [runs[i] for i in best], [members[i] for i in best]
    judged = [member["validation"] for member in members] if is_judged else []
    together = ensemble_lib.combine([member[side] for member in members], by, judged)

    split = runs[0].config.split.kind
    tail = "" if views == "none" else f", {views}"
    record = {
        "title": f"{by} of {len(runs)} models, {side} side ({split} split){tail}",
        "ensemble": by,
        "members": [str(run.workdir) for run in runs],
        "models": [run.config.model.name for run in runs],
        "weights": ensemble_lib.kappa_weights(judged).tolist() if by == ensemble_lib.KAPPA else [],
        "side": side,
        "split": split,
        "checkpoint": checkpoint,
        "weights_kind": weights,
        "tta": views,
        **known,
    }
    target = out or folders[0] / scoring.FOLDER / f"{side}-{by}-of-{len(runs)}"
    scoring.show(scoring.write(together, record, target), cli.console())


def _predictions(
    run: workdir.Run,
    sides: Sequence[str],
    checkpoint: str,
    root: str,
    views: str,
    weights: str,
) -> dict[str, predictions.Predictions]:
    """What one member of an ensemble says, by side."""
    console, found = cli.console(), {}
    material = assembly.resume(run, root or run.config.data.root, sides)
    model = trained.load(run, checkpoint, views, weights)
    for side in sides:
        count = len(material.source(side))
        with progress.bar(console, f"{run.workdir}: {side} side", count) as report:
            found[side] = scoring.predict(material, model, side, report)
    return found


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
    out = pathlib.Path(_OUT.value) if _OUT.value else None
    if _ENSEMBLE.value is None:
        evaluate(folders[0], *options, _TTA.value, out, _WEIGHTS.value)
    else:
        settings = {"by": _ENSEMBLE.value, "keep": _KEEP.value, "views": _TTA.value, "out": out}
        settings |= {"weights": _WEIGHTS.value}
        evaluate_together(folders, *options, **settings)
    return 0


if __name__ == "__main__":
    cli.run(main)
