"""Scores a trained network on one side of its split, and lays them down in the run's folder."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from rich import console as rich_console

from jaxall import assembly, files, trained, workdir
from jaxall.errors import UserError
from jaxall.evaluation import intervals, subjects
from jaxall.evaluation import predictions as predictions_lib
from jaxall.evaluation import scores as scores_lib
from jaxall.reporting import by_subject, plots, reliability, tables
from jaxall.training import checkpoints
from jaxall.training import views as views_lib

FOLDER = "evaluation"
SCORES, PREDICTIONS = "scores.json", "predictions.csv"


class Scored(NamedTuple):
    """What an evaluation found, and the folder that it was written to."""

    scores: dict[str, Any]
    predictions: predictions_lib.Predictions
    target: pathlib.Path


def folder_of(
    run_folder: pathlib.Path,
    side: str,
    step: int,
    views: str = views_lib.NONE,
    weights: str = checkpoints.WEIGHTS[0],
) -> pathlib.Path:
    """Where the scores of a checkpoint on one side lie, by its weights and the views it saw."""
    tail = "" if weights == checkpoints.WEIGHTS[0] else f"-{weights}"
    tail += "" if views == views_lib.NONE else f"-{views.replace(':', '')}"
    return run_folder / FOLDER / f"{side}-step{step}{tail}"


def score(
    run: workdir.Run,
    material: assembly.Material,
    model: trained.Trained,
    side: str,
    progress: Callable[[int], None] = lambda done: None,
    target: pathlib.Path | None = None,
) -> Scored:
    """Predicts every picture of a side once, and writes scores, predictions and plots.

    They go to `target`, or to `folder_of` the checkpoint if that is None.

    Raises:
        UserError: a picture can't be read, or the run's facts are damaged.
    """
    known = facts(run, side)
    split = run.config.split.kind
    tail = "" if model.weights == checkpoints.WEIGHTS[0] else f", {model.weights} weights"
    tail += "" if model.views == views_lib.NONE else f", {model.views}"
    record = {
        "title": f"{run.config.name}, {side} side ({split} split), step {model.step}{tail}",
        "run": run.config.name,
        "model": run.config.model.name,
        "side": side,
        "split": split,
        "checkpoint": model.step,
        "weights_kind": model.weights,
        "tta": model.views,
        **known,
    }
    found = predict(material, model, side, progress)
    own = folder_of(run.workdir, side, model.step, model.views, model.weights)
    return write(found, record, target or own)


def predict(
    material: assembly.Material,
    model: trained.Trained,
    side: str,
    progress: Callable[[int], None] = lambda done: None,
) -> predictions_lib.Predictions:
    """What a model says of a side's pictures, in the order of the table.

    Raises:
        UserError: a picture can't be read.
    """
    source, names, subjects = material.source(side), material.names(side), material.subjects(side)
    return model.predict(source, names, progress, subjects)


def facts(run: workdir.Run, side: str) -> dict[str, Any]:
    """What stands beside every score of a side: "caveat", and "baselines" (accuracies by name).

    Raises:
        UserError: the run's facts are damaged.
    """
    try:
        baselines, caveat = run.facts["baselines"].get(side, {}), run.facts["data"]["caveat"]
    except (AttributeError, LookupError, TypeError) as error:
        raise UserError(f"{run.workdir / workdir.FACTS} is damaged: no {error}") from error
    return {"caveat": caveat, "baselines": baselines}


def write(
    predictions: predictions_lib.Predictions, record: dict[str, Any], target: pathlib.Path
) -> Scored:
    """Scores predictions; writes scores.json, predictions.csv, subjects.csv and the plots.

    Args:
        predictions: of pictures whose labels are known.
        record: written before the scores; "title" stands above tables and plots, "caveat" and
            "baselines" (accuracies by name) are shown with them.
        target: a folder; what an evaluation left there before is replaced.
    """
    title, class_names = record["title"], predictions.class_names
    found = {
        **record,
        **scores_lib.from_predictions(predictions),
        "intervals_95": intervals.of(predictions),
    }
    if patients := subjects.of(predictions):
        found["subjects"] = subjects.summary(patients, class_names)
        subjects.save_csv(patients, class_names, target / "subjects.csv")
        by_subject.accuracies(patients, class_names, target / "subjects.png", title)
    files.write(target / SCORES, scores_lib.to_json(found) + "\n")
    predictions.save_csv(target / PREDICTIONS)
    plots.confusion_matrix(found["confusion"], class_names, target / "confusion.png", title)
    plots.roc(predictions, target / "roc.png", title)
    plots.precision_recall(predictions, target / "pr.png", title)
    reliability.diagram(predictions, target / "reliability.png", title)
    return Scored(found, predictions, target)


def show(scored: Scored, console: rich_console.Console) -> None:
    """Prints the scores beside their baselines, the caveat, and where everything lies."""
    found, _, target = scored
    console.print(tables.score_table(found, found["title"], found["baselines"]))
    console.print("mind:", found["caveat"], style="yellow", soft_wrap=True)
    for path in sorted(target.iterdir()):
        console.print(f"  {path}", soft_wrap=True)
