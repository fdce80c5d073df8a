"""Scores a trained network on one side of its split, and lays them down in the run's folder."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich import console as rich_console

from jaxall import files, runtime
from jaxall.errors import UserError
from jaxall.evaluation import intervals, subjects
from jaxall.evaluation import predictions as predictions_lib
from jaxall.evaluation import scores as scores_lib
from jaxall.reporting import by_subject, plots, reliability, tables
from jaxall.runs import assembly, trained, workdir
from jaxall.training import checkpoints
from jaxall.training import views as views_lib

FOLDER = workdir.SCORED
SCORES, PREDICTIONS = "scores.json", "predictions.csv"


class Scored(NamedTuple):
    """What an evaluation found, the folder that it was written to, and every file of it there."""

    scores: dict[str, Any]
    predictions: predictions_lib.Predictions
    target: pathlib.Path
    paths: tuple[pathlib.Path, ...]


def folder_of(
    run_folder: pathlib.Path,
    side: str,
    step: int,
    views: str = views_lib.NONE,
    weights: str = checkpoints.WEIGHTS[0],
) -> pathlib.Path:
    """Where the scores of a checkpoint on one side lie, by its weights and the views it saw."""
    return run_folder / FOLDER / f"{side}-step{step}{tail_of(views, weights)}"


def tail_of(views: str, weights: str = checkpoints.WEIGHTS[0]) -> str:
    """What weights and views add to the name of a folder."""
    tail = "" if weights == checkpoints.WEIGHTS[0] else f"-{weights}"
    return tail + ("" if views == views_lib.NONE else f"-{views.replace(':', '')}")


def words_of(views: str, weights: str = checkpoints.WEIGHTS[0]) -> str:
    """What weights and views add to a title or a name."""
    tail = "" if weights == checkpoints.WEIGHTS[0] else f", {weights} weights"
    return tail + ("" if views == views_lib.NONE else f", {views}")


def check_target(out: pathlib.Path) -> None:
    """Sees to it that an evaluation written to a folder overwrites an evaluation or nothing.

    Raises:
        UserError: `out` is a file, or a folder that holds something else.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out: {out} is a file; wanted the name of a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / SCORES).is_file():
        raise UserError(
            f"--out: {out} holds files, but no {SCORES}; wanted a new or empty folder, or one that "
            "evaluate wrote to its end"
        )


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
    tail = words_of(model.views, model.weights)
    folder = run.workdir.resolve().name
    name = run.config.name + ("" if folder == run.config.name else f" ({folder})")
    record = {
        "title": f"{name}, {side} side ({split} split), step {model.step}{tail}",
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
    """Scores predictions; writes predictions.csv, subjects.csv, the plots, and scores.json.

    The scores are written last: without them the evaluation isn't finished.

    Args:
        predictions: of pictures whose labels are known.
        record: written before the scores; "title" stands above tables and plots, "caveat" and
            "baselines" (accuracies by name) are shown with them.
        target: a folder; what an evaluation left there before is replaced.
    """
    found = {
        **record,
        "command": runtime.command(),
        **scores_lib.from_predictions(predictions),
        "intervals_95": intervals.of(predictions),
    }
    patients = subjects.of(predictions)
    if patients:
        found["subjects"] = subjects.summary(patients, predictions.class_names)
    (target / SCORES).unlink(missing_ok=True)
    predictions.save_csv(target / PREDICTIONS)
    paths = [
        *_draw(predictions, found, target),
        *_write_subjects(patients, predictions.class_names, target, record["title"]),
        target / PREDICTIONS,
        target / SCORES,
    ]
    files.write(target / SCORES, scores_lib.to_json(found) + "\n")
    return Scored(found, predictions, target, tuple(sorted(paths)))


def show(scored: Scored, console: rich_console.Console) -> None:
    """Prints the scores beside their baselines, the caveat if any, and where everything lies."""
    found = scored.scores
    console.print(tables.score_table(found, found["title"], found["baselines"]))
    over = found["intervals_95"]
    if over["unit"] == "subjects" and over["units"] < intervals.FEW:
        console.print(
            f"mind: of only {over['units']} subjects, intervals by the bootstrap are too narrow, "
            f"and a score that no draw changes has none ({tables.DASH})",
            style="yellow",
            soft_wrap=True,
        )
    if found["caveat"]:
        console.print("mind:", found["caveat"], style="yellow", soft_wrap=True)
    for path in scored.paths:
        console.print(f"  {path}", soft_wrap=True)


def _draw(
    predictions: predictions_lib.Predictions, found: dict[str, Any], target: pathlib.Path
) -> list[pathlib.Path]:
    """The plots that every evaluation has; returns their paths."""
    title = found["title"]
    paths = [target / f"{name}.png" for name in ("confusion", "roc", "pr", "reliability")]
    confusion, roc, pr, reliable = paths
    plots.confusion_matrix(found["confusion"], predictions.class_names, confusion, title)
    plots.roc(predictions, roc, title)
    plots.precision_recall(predictions, pr, title)
    reliability.diagram(predictions, reliable, title)
    return paths


def _write_subjects(
    patients: Sequence[subjects.Subject],
    class_names: Sequence[str],
    target: pathlib.Path,
    title: str,
) -> list[pathlib.Path]:
    """Table and plot of the subjects; where none is known, those of before are taken away."""
    table, plot = paths = [target / name for name in ("subjects.csv", "subjects.png")]
    if not patients:
        for path in paths:
            path.unlink(missing_ok=True)
        return []
    subjects.save_csv(patients, class_names, table)
    by_subject.accuracies(patients, class_names, plot, title)
    return paths
