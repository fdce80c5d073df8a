"""Cross-validation: a run for each fold, and what they show together."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import console as rich_console

from jaxall import config as config_lib
from jaxall import data as data_lib
from jaxall import files
from jaxall.data import splits
from jaxall.errors import UserError
from jaxall.evaluation import predictions as predictions_lib
from jaxall.evaluation import scores as scores_lib
from jaxall.evaluation import spread
from jaxall.reporting import progress
from jaxall.reporting import tables as tables_lib
from jaxall.runs import assembly, scored, scoring, trained, workdir
from jaxall.training import checkpoints

SUMMARY, BEST = "folds.json", "best"
DONE = "scored.json"  # in a fold's folder, once it is trained to its end and scored
SIDES = ("validation", "test")
FACTS = ("run", "model", "side", "split", "caveat", "baselines")  # that a summary repeats


def configs(config: config_lib.Config) -> list[config_lib.Config]:
    """The config of each fold's run.

    Raises:
        UserError: the kind of split has no folds, or the data set's folder isn't as it should be.
    """
    if config.split.kind not in ("folds", "official"):
        raise UserError(
            f"--folds wants split.kind=folds or official; got {config.split.kind!r}, which has no "
            "folds"
        )
    names = splits.fold_names(data_lib.load(config.data), config.split)
    if not names:
        raise UserError(
            f"--folds: {config.data.name} has no folds of its own; split.kind=folds draws some"
        )
    return [
        dataclasses.replace(config, split=dataclasses.replace(config.split, fold=fold))
        for fold in range(len(names))
    ]


def folder_of(folder: pathlib.Path, fold: int) -> pathlib.Path:
    """Where the run of a fold lies."""
    return folder / f"fold{fold}"


def is_scored(run_folder: pathlib.Path, config: config_lib.Config) -> bool:
    """Whether a fold's run has been trained to its end, and scored.

    Raises:
        UserError: the folder holds a run with other settings, or of other pictures.
    """
    if not (run_folder / DONE).exists() or not all(_has_scores(run_folder, side) for side in SIDES):
        return False
    workdir.save_config(run_folder, config)
    assembly.resume(workdir.load(run_folder), config.data.root, ())  # finds the same table
    return True


def score(run_folder: pathlib.Path, console: rich_console.Console) -> None:
    """Scores the best checkpoint of a fold's run on its validation and its test side."""
    run = workdir.load(run_folder)
    material = assembly.resume(run, run.config.data.root, SIDES)
    model = trained.load(run, BEST)
    for side in SIDES:
        with progress.bar(console, f"{side} side", len(material.source(side))) as report:
            scoring.score(run, material, model, side, report)
    files.write(run_folder / DONE, json.dumps({"step": model.step}) + "\n")


def summarise(folder: pathlib.Path, count: int) -> dict[str, Any]:
    """What the folds show together; written to folds.json in the folder.

    Keys: "folds" (the scores of each, by side), "validation" and "test" (`spread.over_runs` of
    each) and "pooled": where no picture is tested twice, the scores of all folds' test predictions
    taken as one; else None.

    Raises:
        UserError: a fold's scores are missing or damaged, or it is of other pictures.
    """
    _require_same_pictures(folder, count)
    evaluations = [
        {side: _evaluation(folder_of(folder, fold), side) for side in SIDES}
        for fold in range(count)
    ]
    found = [{side: one.scores for side, one in sides.items()} for sides in evaluations]
    tables = [table for sides in evaluations if (table := sides["test"].predictions)]
    names = [name for table in tables for name in table.names]
    is_once = len(set(names)) == len(names)
    summary = {
        "folds": found,
        **{side: spread.over_runs([scores[side] for scores in found]) for side in SIDES},
        "pooled": _pool(tables, [scores["test"] for scores in found], folder) if is_once else None,
    }
    files.write(folder / SUMMARY, scores_lib.to_json(summary) + "\n")
    return summary


def show(summary: dict[str, Any], folder: pathlib.Path, console: rich_console.Console) -> None:
    """Prints the table of all folds, and where the summary lies."""
    for side in SIDES:
        own = [scores[side] for scores in summary["folds"]]
        console.print(tables_lib.fold_table(own, summary[side], f"{side} side"))
    if pooled := summary["pooled"]:
        console.print(tables_lib.score_table(pooled, pooled["title"], pooled["baselines"]))
    if caveat := summary["folds"][0]["test"]["caveat"]:
        console.print("mind:", caveat, style="yellow", soft_wrap=True)
    console.print(f"  {folder / SUMMARY}", soft_wrap=True)


def _require_same_pictures(folder: pathlib.Path, count: int) -> None:
    """A fold that was set up on other files, or more or fewer, belongs to another experiment."""
    first, *others = (folder_of(folder, fold) / workdir.PICTURES for fold in range(count))
    wanted = files.read_text(first)
    for path in others:
        if files.read_text(path) != wanted:
            raise UserError(
                f"{path.parent} was set up on other pictures than {first.parent}: delete it, and "
                "it is trained again"
            )


def _has_scores(run_folder: pathlib.Path, side: str) -> bool:
    """Whether all files of an evaluation are there, be they sound or not."""
    try:
        target = _target(run_folder, side)
    except UserError:  # no checkpoint
        return False
    return all((target / name).exists() for name in (scoring.SCORES, scoring.PREDICTIONS))


def _target(run_folder: pathlib.Path, side: str) -> pathlib.Path:
    return scoring.folder_of(run_folder, side, checkpoints.find(run_folder, BEST))


def _evaluation(run_folder: pathlib.Path, side: str) -> scored.Evaluation:
    """What the best checkpoint of a fold made of a side, with what a summary is made of."""
    path = _target(run_folder, side) / scoring.SCORES
    found = scored.load(path, run_folder.name)
    missing = [name for name in FACTS if name not in found.scores]
    if missing or found.predictions is None:
        lack = ", ".join(missing) or scoring.PREDICTIONS
        raise UserError(f"the scores {path} are damaged: {lack} missing")
    return found


def _pool(
    tables: Sequence[predictions_lib.Predictions],
    found: Sequence[dict[str, Any]],
    folder: pathlib.Path,
) -> dict[str, Any]:
    """The scores of every picture by the network that never saw it."""
    first = found[0]
    weights = np.array([scores["examples"] for scores in found], np.float64)
    baselines = {
        name: float(np.average([scores["baselines"][name] for scores in found], weights=weights))
        for name in first["baselines"]
    }
    pooled = predictions_lib.concatenate(tables)
    title = f"{first['run']}, all {len(tables)} folds' test sides together"
    facts = {
        **{key: first[key] for key in ("run", "model", "side", "split", "caveat")},
        "title": title,
        "baselines": baselines,
    }
    return scoring.write(pooled, facts, folder / scoring.FOLDER / "pooled").scores
