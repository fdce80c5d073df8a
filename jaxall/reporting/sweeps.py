"""The trials of a sweep: as a table, as CSV, and as a plot."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from etils import epy
from rich import box, table, text

from jaxall.evaluation import scores
from jaxall.reporting import canvas, tables

with epy.lazy_imports():  # only the end of a sweep draws
    from matplotlib import axes, ticker

COLUMNS = 3  # panels beside one another


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """What is shown of a trial.

    Attributes:
        number: from 0.
        state: "complete", "pruned", "failed" or "unfinished".
        score: of its best epoch; None before there is one.
        epochs: that it ran.
        settings: name -> value.
        error: why it failed.
        command: that makes its run.
    """

    number: int
    state: str
    score: float | None
    epochs: int
    settings: Mapping[str, Any]
    error: str = ""
    command: str = ""


def best(trials: Sequence[Trial], key: str) -> Trial | None:
    """The complete trial with the best score; `key` is the score's, and says which way is better.

    One that was ended before its time can't win, nor can one that goes on.
    """
    position = scores.best(
        [{key: trial.score} if trial.state == "complete" else {} for trial in trials], key
    )
    return None if position is None else trials[position]


def trial_table(trials: Sequence[Trial], key: str) -> table.Table:
    """A line for each trial, the best marked; below, the errors of those that failed."""
    result = table.Table(box=box.SIMPLE_HEAD, show_edge=False)
    names = _names(trials)
    headings = [name.replace(".", ".\n").replace("_", "_\n") for name in names]
    for heading in ("trial", tables.wording(key).replace(" ", "\n", 1), "epochs", *headings):
        result.add_column(text.Text(heading), justify="right")
    result.add_column("state")
    winner = best(trials, key)
    for trial in trials:
        mark, style = (f" {tables.BEST}", "bold") if trial is winner else ("", None)
        result.add_row(
            *(str(trial.number), tables.score(key, trial.score), str(trial.epochs)),
            *(text.Text(wording(trial.settings.get(name))) for name in names),
            trial.state + mark,
            style=style,
        )
    both = table.Table.grid()
    both.add_row(result)
    for trial in trials:
        if trial.state == "failed":
            both.add_row(text.Text(f"trial {trial.number} failed: {trial.error}", style="red"))
    return both


def wording(value: Any) -> str:
    """A setting's value, numbers with four digits."""
    return tables.DASH if value is None else f"{value:.4g}" if type(value) is float else str(value)


def to_csv(trials: Sequence[Trial], key: str) -> str:
    """All that is known of the trials; numbers lose nothing."""
    names, buffer = _names(trials), io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["trial", "state", key, "epochs", *names, "error", "command"])
    for trial in trials:
        values = [trial.settings.get(name, "") for name in names]
        score = "" if trial.score is None else trial.score
        writer.writerow(
            [trial.number, trial.state, score, trial.epochs, *values, trial.error, trial.command]
        )
    return buffer.getvalue()


def draw(
    trials: Sequence[Trial],
    key: str,
    path: str | os.PathLike[str],
    logarithmic: Collection[str] = (),
    choices: Collection[str] = (),
    title: str = "",
) -> None:
    """Score by trial with the best so far, and below a panel for each setting.

    Trials that were ended before their time are hollow; failed ones are crosses at the bottom.

    Args:
        trials: at least one.
        key: the score's.
        path: of the PNG.
        logarithmic: names of the settings with a logarithmic scale.
        choices: names of those whose values have no scale.
        title: above all.

    Raises:
        ValueError: there are no trials.
    """
    if not trials:
        raise ValueError("wanted at least one trial to plot, got none")
    names = _names(trials)
    rows = math.ceil(len(names) / COLUMNS)
    drawing = canvas.figure(9, 3.2 + 2.4 * rows)
    grid = drawing.add_gridspec(1 + rows, COLUMNS, height_ratios=[1.3] + [1] * rows)
    course = drawing.add_subplot(grid[0, :])
    _course(course, trials, key)
    for index, name in enumerate(names):
        panel = drawing.add_subplot(grid[1 + index // COLUMNS, index % COLUMNS], sharey=course)
        _slice(panel, trials, key, name, name in logarithmic, name in choices)
        if index % COLUMNS:
            panel.tick_params(labelleft=False)
    drawing.suptitle(canvas.plain(title, 90), fontsize=11)
    canvas.save(drawing, path)


def _names(trials: Sequence[Trial]) -> list[str]:
    """Of the settings, in the order in which they were declared."""
    return list(dict.fromkeys(name for trial in trials for name in trial.settings))


def _course(panel: axes.Axes, trials: Sequence[Trial], key: str) -> None:
    _dots(panel, [(trial, trial.number) for trial in trials], key)
    leaders = [(trial, best(trials[: i + 1], key)) for i, trial in enumerate(trials)]
    steps = [(trial.number, leader.score) for trial, leader in leaders if leader]
    if steps:
        numbers, values = zip(*steps, strict=True)
        look: dict[str, Any] = {"color": canvas.COLOURS[1], "linewidth": 1.5, "zorder": 1}
        panel.plot(numbers, values, drawstyle="steps-post", label="best so far", **look)
    failed = [trial.number for trial in trials if trial.state == "failed"]
    if failed:
        at_bottom = panel.get_xaxis_transform()  # x in trials, y as a share of the panel
        look = {"color": canvas.GREY, "linestyle": "", "marker": "x", "transform": at_bottom}
        panel.plot(failed, [0.03] * len(failed), label="failed", **look)
    panel.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    panel.set_xlim(-0.5, max(trial.number for trial in trials) + 0.5)
    panel.set_xlabel("trial")
    panel.set_ylabel(canvas.plain(tables.wording(key), 24))
    if "loss" not in key and "%" in tables.score(key, 1.0):
        panel.yaxis.set_major_formatter(ticker.PercentFormatter(xmax=1))
    if panel.get_legend_handles_labels()[0]:
        panel.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9, frameon=False)
    canvas.tidy(panel)


def _slice(
    panel: axes.Axes,
    trials: Sequence[Trial],
    key: str,
    name: str,
    is_logarithmic: bool,
    is_choice: bool,
) -> None:
    """Scores over the values of one setting; choices, texts and truths stand in their order."""
    known = [(trial, trial.settings[name]) for trial in trials if name in trial.settings]
    values = [value for _, value in known]
    if is_choice or any(isinstance(value, str | bool) for value in values):
        labels = [str(value) for value in sorted(set(values), key=_by_size)]
        known = [(trial, labels.index(str(value))) for trial, value in known]
        panel.set_xticks(range(len(labels)), [canvas.plain(label, 12) for label in labels])
        panel.set_xlim(-0.5, len(labels) - 0.5)
    elif is_logarithmic:
        panel.set_xscale("log")
        is_wide = max(values) >= 100 * min(values)
        panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1,) if is_wide else (1, 2, 5)))
        panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_formatter(ticker.NullFormatter())
    else:
        are_whole = all(isinstance(value, int) for value in values)
        panel.xaxis.set_major_locator(ticker.MaxNLocator(4, integer=are_whole, min_n_ticks=1))
    _dots(panel, known, key)
    panel.set_xlabel(canvas.plain(name, 32), fontsize=9)
    panel.tick_params(labelsize=8)
    canvas.tidy(panel)


def _by_size(value: Any) -> tuple[bool, Any]:
    """Numbers before texts, each among themselves."""
    return isinstance(value, str), value


def _dots(panel: axes.Axes, places: Sequence[tuple[Trial, float]], key: str) -> None:
    blue, winner = canvas.COLOURS[0], best([trial for trial, _ in places], key)
    for state, fill in (("complete", blue), ("pruned", "none"), ("unfinished", "#E0E0E0")):
        dots = [(x, t.score) for t, x in places if t.state == state and t.score is not None]
        if dots:
            panel.scatter(
                *zip(*dots, strict=True), s=26, facecolors=fill, edgecolors=blue, label=state
            )
    for trial, x in places:
        if trial is winner and trial.score is not None:
            look = {"color": canvas.COLOURS[1], "marker": "*", "zorder": 3}
            panel.scatter([x], [trial.score], s=120, label="best", **look)
