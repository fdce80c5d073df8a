"""Scores several trained networks that predict together, on one side of their split."""

import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxall.data import split_file
from jaxall.errors import UserError
from jaxall.evaluation import ensemble, metrics
from jaxall.evaluation import predictions as predictions_lib
from jaxall.reporting import tables
from jaxall.runs import scoring, workdir

DIGITS = 8  # of the sha256 that tells an ensemble from others


class Member(NamedTuple):
    """One model of an ensemble.

    Attributes:
        run: that it comes from.
        step: of its checkpoint.
        views: what it saw of a picture, see `training.views`.
        weights: which of the checkpoint's, see `checkpoints.load_variables`.
        told: its predictions by side; of validation, too, where members are weighed or chosen.
    """

    run: workdir.Run
    step: int
    views: str
    weights: str
    told: dict[str, predictions_lib.Predictions]


def require_same_pictures(runs: Sequence[workdir.Run], side: str) -> None:
    """Makes sure that the runs were set up on the same files of a side.

    Raises:
        UserError: they weren't; or a run's lists of pictures are damaged.
    """
    found = [
        split_file.fingerprint(one.workdir / workdir.SPLIT, one.workdir / workdir.PICTURES, side)
        for one in runs
    ]
    for run, (pictures, _) in zip(runs, found, strict=True):
        if pictures != found[0][0]:
            raise UserError(
                f"{run.workdir} has other pictures on its {side} side than {runs[0].workdir}: only "
                "what was said of the same pictures can be joined"
            )


def folder_of(members: Sequence[Member], side: str, by: str) -> pathlib.Path:
    """Where the scores of an ensemble on one side lie: in the run of its first member.

    A digest of the members' folders, steps and weights, in any order, tells it from others.
    """
    first = members[0]
    models = sorted(
        [str(member.run.workdir.resolve()), member.step, member.weights] for member in members
    )
    digest = hashlib.sha256(json.dumps(models).encode()).hexdigest()[:DIGITS]
    name = f"{side}-{by}{scoring.tail_of(first.views, first.weights)}-{digest}"
    return first.run.workdir / scoring.FOLDER / name


def score(
    members: Sequence[Member],
    side: str,
    *,
    by: str,
    keep: int = 0,
    target: pathlib.Path | None = None,
) -> scoring.Scored:
    """Scores an ensemble on one side, and writes scores, predictions and plots.

    Caveat and baselines are those of the first member that is kept.

    Args:
        members: of the same pictures on that side.
        side: that is scored.
        by: one of `evaluation.ensemble.BY`.
        keep: so many members, the best on validation, the best first; 0 for all as they come.
        target: the folder; that of `folder_of` if None.

    Raises:
        UserError: the members don't have the same pictures, none is better than chance on
            validation, or a run's facts are damaged.
    """
    asked = {member.run.workdir for member in members}
    if keep:
        best = ensemble.select([member.told["validation"] for member in members], most=keep)
        members = [members[place] for place in best]
    judged = [member.told["validation"] for member in members] if by == ensemble.KAPPA else []
    together = ensemble.combine([member.told[side] for member in members], by, judged)
    run, views = members[0].run, members[0].views
    split = run.config.split.kind
    tail = scoring.words_of(views)
    record = {
        "title": (
            f"{ensemble.WORDING[by]} of {len(members)} models, {side} side ({split} split){tail}"
        ),
        "ensemble": by,
        "members": [str(member.run.workdir) for member in members],
        "member_accuracies": [
            float(metrics.accuracy(member.told[side].confusion())) for member in members
        ],
        "left_out": sorted(str(path) for path in asked - {one.run.workdir for one in members}),
        "models": [member.run.config.model.name for member in members],
        "weights": ensemble.kappa_weights(judged).tolist() if judged else [],
        "side": side,
        "split": split,
        "checkpoint": ", ".join(f"step {member.step}" for member in members),
        "weights_kind": members[0].weights,
        "tta": views,
        **scoring.facts(run, side),
    }
    return scoring.write(together, record, target or folder_of(members, side, by))


def describe(found: Mapping[str, Any]) -> list[str]:
    """A line for each member of an ensemble's scores, and for each that was left out."""
    weights = found["weights"] or [None] * len(found["members"])
    lines = []
    for folder, model, share, weight in zip(
        found["members"], found["models"], found["member_accuracies"], weights, strict=True
    ):
        weighed = "" if weight is None else f", weight {weight:.2f}"
        lines.append(f"  {folder}: {model}, alone {tables.percent(share)} right{weighed}")
    return lines + [f"  {folder}: left out, worse on validation" for folder in found["left_out"]]
