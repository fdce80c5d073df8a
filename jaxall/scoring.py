"""Scores a trained network on one side of its split, and lays them down in the run's folder."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from rich import console as rich_console

from jaxall import assembly, files, trained, workdir
from jaxall.errors import UserError
from jaxall.evaluation import predictions as predictions_lib
from jaxall.evaluation import scores as scores_lib
from jaxall.reporting import plots, tables

FOLDER = "evaluation"
SCORES, PREDICTIONS = "scores.json", "predictions.csv"


class Scored(NamedTuple):
    """What an evaluation found, and the folder that it was written to."""

    scores: dict[str, Any]
    predictions: predictions_lib.Predictions
    target: pathlib.Path


def folder_of(run_folder: pathlib.Path, side: str, step: int) -> pathlib.Path:
    """Where the scores of a checkpoint on one side lie."""
    return run_folder / FOLDER / f"{side}-step{step}"


def score(
    run: workdir.Run,
    material: assembly.Material,
    model: trained.Trained,
    side: str,
    progress: Callable[[int], None] = lambda done: None,
) -> Scored:
    """Predicts every picture of a side once, and writes scores, predictions and plots.

    They go to evaluation/SIDE-stepN in the run's folder.

    Raises:
        UserError: a picture can't be read, or the run's facts are damaged.
    """
    source, names, subjects = material.source(side), material.names(side), material.subjects(side)
    try:
        baselines, caveat = run.facts["baselines"].get(side, {}), run.facts["data"]["caveat"]
    except (AttributeError, LookupError, TypeError) as error:
        raise UserError(f"{run.workdir / workdir.FACTS} is damaged: no {error}") from error
    predictions = model.predict(source, names, progress, subjects)
    split = run.config.split.kind
    facts = {
        "title": f"{run.config.name}, {side} side ({split} split), step {model.step}",
        "run": run.config.name,
        "model": run.config.model.name,
        "side": side,
        "split": split,
        "checkpoint": model.step,
        "caveat": caveat,
        "baselines": baselines,
    }
    return write(predictions, facts, folder_of(run.workdir, side, model.step))


def write(
    predictions: predictions_lib.Predictions, facts: dict[str, Any], target: pathlib.Path
) -> Scored:
    """Scores predictions; writes scores, predictions and plots to `target`.

    Args:
        predictions: of pictures whose labels are known.
        facts: written before the scores; "title" stands above tables and plots, "caveat" and
            "baselines" (accuracies by name) are shown with them.
        target: a folder; what an evaluation left there before is replaced.
    """
    found = {**facts, **scores_lib.from_predictions(predictions)}
    title, class_names = facts["title"], predictions.class_names
    files.write(target / SCORES, scores_lib.to_json(found) + "\n")
    predictions.save_csv(target / PREDICTIONS)
    plots.confusion_matrix(found["confusion"], class_names, target / "confusion.png", title)
    plots.roc(predictions, target / "roc.png", title)
    return Scored(found, predictions, target)


def show(scored: Scored, console: rich_console.Console) -> None:
    """Prints the scores beside their baselines, the caveat, and where everything lies."""
    found, _, target = scored
    console.print(tables.score_table(found, found["title"], found["baselines"]))
    console.print("mind:", found["caveat"], style="yellow", soft_wrap=True)
    for path in sorted(target.iterdir()):
        console.print(f"  {path}", soft_wrap=True)
