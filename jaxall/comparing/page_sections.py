"""The part of the page that is about one set of pictures: the table of runs, and how to read it."""

import pathlib
from collections.abc import Sequence
from typing import Any

from jaxall.comparing import comparison, page_figures, run_facts
from jaxall.comparing.comparison import CrossValidation, Group, Run
from jaxall.evaluation import intervals as intervals_lib
from jaxall.reporting import downloads, figure_data, standings, tables
from jaxall.reporting.page_folder import PageFolder, shown
from jaxall.runs import scoring
from jaxall.runs.scored import Evaluation
from jaxall.training import checkpoints
from jaxall.training import views as views_lib

IN_THE_TABLE = ("model.name", "model.init", "split.fold")  # or in its heading: not repeated


def of_group(group: Group, side: str, letter: str, folder: PageFolder) -> dict[str, Any]:
    """What the template needs of one set of pictures; its files are written."""
    first = comparison.runs_of(group.members[0])[0]
    evaluations = _evaluations(group)
    rows = _rows(group, evaluations)
    columns = standings.columns(rows)
    folder.table(f"{letter}-table", f"Set {letter}: table of runs", downloads.of_records(rows))
    per_class = figure_data.per_class({one.label: one.scores for one in evaluations})
    classes = downloads.of_records(per_class)
    counts = downloads.of_records(run_facts.counts(group, side))
    folder.table(f"{letter}-classes", f"Set {letter}: scores by class", classes)
    folder.table(f"{letter}-counts", f"Set {letter}: pictures by class and side", counts)
    return {
        "letter": letter,
        "heading": f"Set {letter}: {group.data}, {group.split} split",
        "description": _description(group, side),
        "caveat": first.saved.facts["data"].get("caveat", ""),
        "remarks": run_facts.remarks(first),
        "verdict": standings.verdict(rows, tables.wording("accuracy")),
        "rows": rows,
        "columns": columns,
        "positive": first.saved.class_names[-1],
        "leaders": {name: standings.leader(rows, name) for name in columns},
        "notes": _notes(rows, evaluations),
        "settings": _settings(group),
        "overview": page_figures.overview(rows, letter, folder),
        "parts": page_figures.parts(evaluations, letter, folder),
        "per_class": _worded(classes),
        "counts": shown(counts),
        "facts": [
            *run_facts.of_pictures(first),
            (f"sha256 of the {side} side's list", group.pictures),
        ],
    }


def _evaluations(group: Group) -> list[Evaluation]:
    found = []
    for member in group.members:
        if isinstance(member, Run):
            found += member.evaluations
        elif member.pooled:
            found.append(member.pooled)
    return found


def _rows(group: Group, evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    rows = []
    for member in group.members:
        saved = comparison.runs_of(member)[0].saved
        init = pathlib.PurePath(saved.config.model.init).name  # a word, or a file's path
        facts = {"model": saved.config.model.name, "init": init}
        if isinstance(member, CrossValidation):
            names = f"mean of {len(member.folds)} folds"
            pictures, subjects = _extent(member.folds)
            own = {"checkpoint": names, "subjects": subjects, "pictures": pictures}
            rows.append(standings.of_folds(member.label, member.spread, facts | own))
            if member.pooled:
                pooled = facts | {"checkpoint": "each fold's best", "subjects": own["subjects"]}
                rows.append(standings.of_scores(member.pooled.label, member.pooled.scores, pooled))
        else:
            for one in member.evaluations:
                own = facts | _checkpoint(one.scores) | {"subjects": member.subjects}
                run = one.label if "ensemble" in one.scores else member.label
                rows.append(standings.of_scores(one.label, one.scores, own, run))
    baselines = {}
    for one in evaluations:
        baselines |= one.scores.get("baselines") or {}
    pictures = evaluations[0].scores["examples"] if evaluations else 0
    return rows + standings.of_baselines(baselines, pictures)


def _checkpoint(scores: dict[str, Any]) -> dict[str, str]:
    """Which weights and views; of an ensemble also which models, in place of the run's own."""
    tail = scoring.words_of(
        scores.get("tta", views_lib.NONE), scores.get("weights_kind", checkpoints.WEIGHTS[0])
    )
    step = scores.get("checkpoint", "")
    found = {"checkpoint": (f"step {step}" if isinstance(step, int) else str(step)) + tail}
    if "ensemble" in scores:
        models = ", ".join(scores.get("models", []))
        found |= {"model": models, "init": ""}
    return found


def _description(group: Group, side: str) -> str:
    runs = comparison.runs_of(group.members[0])
    names = runs[0].saved.class_names
    pictures, known = _extent(runs)
    of = f" of {known:,} subjects" if known else ", of subjects that are not known"
    folds = f", in {len(runs)} folds" if len(runs) > 1 else ""
    positive = f" Sensitivity is that of {names[-1]}." if len(names) == 2 else ""
    return f"{pictures:,} {side} pictures{of}{folds}. Classes: {', '.join(names)}.{positive}"


def _extent(runs: Sequence[Run]) -> tuple[int, int]:
    """Pictures and known subjects of the side; folds may share one."""
    sides = {run.pictures: run for run in runs}.values()
    return sum(run.examples for run in sides), sum(run.subjects for run in sides)


def _notes(rows: Sequence[dict[str, Any]], evaluations: Sequence[Evaluation]) -> list[str]:
    """What must be known to read the table."""
    intervals: list[dict[str, Any] | None] = [one.scores.get("intervals_95") for one in evaluations]
    units = {found["unit"]: found["units"] for found in intervals if found is not None}
    notes = []
    if "subjects" in units:
        notes.append(
            "Small figures: 95 % intervals by the bootstrap over subjects, for pictures of one "
            "subject are alike."
        )
        if units["subjects"] < intervals_lib.FEW:
            notes.append(
                f"With only {units['subjects']} subjects such intervals are too narrow: "
                "take them as the least that is uncertain."
            )
    if "pictures" in units or None in intervals:
        notes.append(
            "Small figures over pictures: 95 % intervals, of the accuracy Wilson's, of other "
            "scores by the bootstrap; they take pictures as independent, so where several are of "
            "one patient they are too narrow."
        )
    if None in intervals:
        notes.append("Runs that an older version scored have an interval of the accuracy only.")
    elif any(standings.lacks_interval(row, name) for row in rows for name in standings.SCORES):
        notes.append(
            "A score without an interval was the same in all draws of the bootstrap, or undefined "
            "in most: there are too few units to say how uncertain it is."
        )
    if any(row["kind"] == standings.FOLDS for row in rows):
        notes.append("±: standard deviation of the folds, which is no interval of their mean.")
    notes.append(
        "Bold: the interval lies above that of every other run in this table. Nothing is bold "
        "where the figures don't justify it."
    )
    return notes


def _settings(group: Group) -> dict[str, Any]:
    """A row for each setting, a column for each run."""
    runs = [comparison.runs_of(member)[0] for member in group.members]
    columns = ("setting", *(member.label for member in group.members))
    rows = [
        (name, *values)
        for name, values in comparison.differing(runs).items()
        if name not in IN_THE_TABLE
    ]
    return shown(downloads.Table(columns=columns, rows=tuple(rows)), columns)


def _worded(table: downloads.Table) -> dict[str, Any]:
    """The table of classes as the page shows it: each score in its own unit."""
    texts = tuple(
        tuple(
            tables.score(name, cell) if isinstance(cell, float) else cell
            for name, cell in zip(table.columns, row, strict=True)
        )
        for row in table.rows
    )
    made = shown(downloads.Table(columns=table.columns, rows=texts))
    made["columns"] = [tables.wording(name) for name in table.columns]
    made["is_number"] = [False, False, *[True] * (len(table.columns) - 2)]
    return made
