"""Makes the page that compares runs, from what `comparison` gathered.

index.html    the page; needs none of the others      report.json   the whole comparison
data/         each table and figure, as CSV and JSON  figures/      each figure, as SVG
"""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from rich import console as rich_console

from jaxall import __version__
from jaxall.comparing import comparison, page_sections, run_facts
from jaxall.comparing.comparison import Group, Run
from jaxall.evaluation import scores as scores_lib
from jaxall.reporting import course, downloads, page, progress
from jaxall.reporting.page_folder import PageFolder, shown


def write(
    groups: Sequence[Group], side: str, out: pathlib.Path, console: rich_console.Console
) -> pathlib.Path:
    """Writes the page, and prints where it is; returns its path.

    Raises:
        UserError: `out` holds something else.
    """
    folder = PageFolder(out)
    members = [member for group in groups for member in group.members]
    runs = [run for member in members for run in comparison.runs_of(member)]
    with progress.bar(console, "drawing", len(groups) + len(runs)) as report:
        sections = []
        for number, group in enumerate(groups):
            letter = _letter(number)
            sections.append(page_sections.of_group(group, side, letter, folder))
            report(number + 1)
        courses = []
        for number, run in enumerate(runs, 1):
            courses += _course(run, folder)
            report(len(groups) + number)
    count = f"{len(members)} runs" if len(members) > 1 else "one run"
    names = ", ".join(dict.fromkeys(group.data for group in groups))
    view = {
        "title": f"Scores of {count} on the {side} side: {names}",
        "lede": "Classifiers of leukemia in blood-smear pictures, scored on pictures that they "
        "were not trained on; with intervals, and beside what needs no network at all."
        if side != "train"
        else "Classifiers of leukemia in blood-smear pictures, scored on their training pictures.",
        "differs": _differs(groups, side),
        "groups": sections,
        "courses": courses,
        **_tables(runs, folder),
        "commands": [(run.label, "\n".join(run_facts.commands(run))) for run in runs],
        "version": __version__,
    }
    view["downloads"] = folder.listed
    path = folder.finish(page.render(view), _report(groups, sections, runs, side))
    sets = f"{len(groups)} sets" if len(groups) > 1 else "1 set"
    console.print(f"{count}, {sets} of {side} pictures", soft_wrap=True)
    console.print(f"  {path}", soft_wrap=True)
    return path


def _letter(number: int) -> str:
    """A, B ... Z, then numbers."""
    return chr(ord("A") + number) if number < 26 else str(number + 1)


def _differs(groups: Sequence[Group], side: str) -> str:
    if len(groups) == 1:
        return ""
    names = " and ".join(dict.fromkeys(f"{group.data} ({group.split} split)" for group in groups))
    return (
        f"The runs were scored on {len(groups)} different sets of {side} pictures, of {names}. A "
        "score on other pictures says nothing of which network is better: compare within one "
        "table, never from table to table."
    )


def _course(run: Run, folder: PageFolder) -> list[dict[str, str]]:
    """The learning curves; none of a run without a journal."""
    if not run.epochs:
        return []
    best_by = f"validation_{run.saved.config.train.best_by}"
    return [
        folder.figure(
            f"{run.label}-learning",
            run.label,
            "learning curves by epoch; the best on validation is marked",
            lambda path: course.learning_curves(run.epochs, path, best_by, steps=run.steps),
            downloads.of_records(run.epochs),
        )
    ]


def _tables(runs: Sequence[Run], folder: PageFolder) -> dict[str, Any]:
    """Speed, sampling and environment of all runs; their settings are written only."""
    drawn = [found for run in runs if (found := run_facts.sampling(run))]
    found = {
        "speed": ([run_facts.speed(run) for run in runs], "Speed of training"),
        "sampling": (drawn, "Draws of training pictures in an epoch"),
        "environment": ([run_facts.environment(run) for run in runs], "Versions and devices"),
    }
    made = {}
    for name, (records, what) in found.items():
        table = downloads.of_records(records)
        if table.rows:
            folder.table(name, what, table)
        made[name] = shown(table)
    settings = [record for run in runs for record in run_facts.settings(run)]
    for record in settings:
        record["value"] = page.value(record["value"])
    folder.table("settings", "Every setting of every run", downloads.of_records(settings))
    return made


def _report(
    groups: Sequence[Group], sections: Sequence[dict[str, Any]], runs: Sequence[Run], side: str
) -> dict[str, Any]:
    """The whole comparison in plain values that JSON can hold."""
    return json.loads(
        scores_lib.to_json(
            {
                "jaxall": __version__,
                "side": side,
                "sets": [
                    {
                        "set": section["letter"],
                        "data": group.data,
                        "split": group.split,
                        "pictures_sha256": group.pictures,
                        "caveat": section["caveat"],
                        "rows": section["rows"],
                    }
                    for group, section in zip(groups, sections, strict=True)
                ],
                "runs": [
                    {
                        "name": run.label,
                        "folder": str(run.saved.workdir),
                        "command": run.saved.facts.get("command", []),
                        "versions": run.saved.facts.get("versions", {}),
                        "speed": run_facts.speed(run),
                        "settings": {
                            record["setting"]: record["value"] for record in run_facts.settings(run)
                        },
                    }
                    for run in runs
                ],
            }
        )
    )
