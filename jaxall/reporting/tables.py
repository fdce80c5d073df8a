"""Tables for the terminal: shares in percent with two decimals, other figures with four.

NaN is a dash. Every text is shown as it is: brackets in a class name are no markup.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box, table, text

from jaxall.evaluation import intervals as intervals_module
from jaxall.evaluation import scores as scores_module

DASH = "–"  # noqa: RUF001 - the en dash is meant
# Wordings that aren't the key with its underscores taken out.
WORDS = {
    "f1": "F1",
    "f1_macro": "F1 macro",
    "f1_weighted": "F1 weighted",
    "kappa": "Cohen's kappa",
    "matthews": "Matthews correlation",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "brier": "Brier score",
}
NARROW = {"average_precision": "av. prec."}  # where a column has no room for the words
# key of an epoch's record: (heading, width, decimals; None means percent)
EPOCH_COLUMNS: dict[str, tuple[str, int, int | None]] = {
    "epoch": ("epoch", 5, 0),
    "train_loss": ("train\nloss", 7, 4),
    "train_accuracy": ("train\naccuracy", 8, None),
    "validation_loss": ("val.\nloss", 7, 4),
    "validation_accuracy": ("val.\naccuracy", 8, None),
    "validation_balanced_accuracy": ("val.\nbalanced", 8, None),
    "validation_f1_macro": ("val. F1\nmacro", 7, None),
    "validation_kappa": ("val.\nkappa", 7, 4),
    "images_per_second": ("images\n/s", 6, 0),
    "seconds": ("s", 6, 1),
}
BEST = "*"
FOLD_COLUMNS = ("accuracy", "balanced_accuracy", "f1_macro", "f1_weighted", "kappa", "auroc")


def percent(share: float | None) -> str:
    """0.971 as "97.10%"; NaN and None as a dash."""
    return DASH if share is None or math.isnan(share) else f"{100 * share:.2f}%"


def number(value: float | None, decimals: int = 4) -> str:
    """0.97 as "0.9700"; NaN and None as a dash."""
    return DASH if value is None or math.isnan(value) else f"{value:.{decimals}f}"


def score(name: str, value: float | None) -> str:
    """A score as its name asks: in percent, or with four decimals."""
    bare = name.removeprefix("train_").removeprefix("validation_")
    return number(value) if bare in scores_module.NOT_SHARES else percent(value)


def wording(name: str) -> str:
    """A score's key in words: "validation_f1_macro" as "validation F1 macro"."""
    for side in ("train_", "validation_"):
        if name.startswith(side):
            return f"{side[:-1]} {wording(name.removeprefix(side))}"
    return WORDS.get(name, name.replace("_", " "))


def score_table(
    scores: Mapping[str, Any], title: str = "", baselines: Mapping[str, float] | None = None
) -> table.Table:
    """Overall scores above the scores of each class, as one renderable.

    Fits 100 columns. `scores` as from `evaluation.scores`, with "intervals_95" (of
    `evaluation.intervals`) and "subjects" (of `evaluation.subjects.summary`) if there are any.
    `baselines` are accuracies (0..1) by name, shown under the model's; one that the model doesn't
    beat is marked so.
    """
    both = table.Table.grid()
    both.title, both.title_justify = text.Text(title, style="bold"), "left"
    both.add_row(_overall_table(scores, baselines or {}))
    both.add_row("")
    both.add_row(_class_table(scores["per_class"]))
    return both


def epoch_table(
    epochs: Sequence[Mapping[str, Any]], best: int | None = None, show_header: bool = True
) -> table.Table:
    """One line per record with `EPOCH_COLUMNS`' keys; what is missing from a record is a dash.

    `best` is the position (not the epoch's number) of the record to mark. Fits 80 columns. Widths
    are fixed, so single lines printed without a header stand under a header printed before.
    """
    result = table.Table(box=None, padding=(0, 1, 0, 0), show_header=show_header)
    for heading, width, _ in EPOCH_COLUMNS.values():
        result.add_column(heading, justify="right", min_width=width, no_wrap=True)
    result.add_column("", min_width=len(BEST))
    for position, record in enumerate(epochs):
        mark, style = (BEST, "bold") if position == best else ("", None)
        result.add_row(*epoch_cells(record), mark, style=style)
    return result


def fold_table(
    folds: Sequence[Mapping[str, Any]], spread: Mapping[str, Mapping[str, float]], title: str = ""
) -> table.Table:
    """A line for each fold's scores, and their mean, deviation, lowest and highest.

    `spread` as from `evaluation.spread.over_runs`.
    """
    result = table.Table(box=box.SIMPLE_HEAD, show_edge=False, title_justify="left")
    result.title = text.Text(title, style="bold")
    names = [name for name in FOLD_COLUMNS if name in spread]
    for heading in ("fold", "pictures", *map(wording, names)):
        result.add_column(heading, justify="right", no_wrap=False)
    for fold, found in enumerate(folds):
        cells = [score(name, found[name]) for name in names]
        result.add_row(str(fold), f"{found['examples']:,}", *cells, end_section=found is folds[-1])
    for key in ("mean", "deviation", "lowest", "highest"):
        result.add_row(key, "", *(score(name, spread[name][key]) for name in names))
    return result


def epoch_cells(record: Mapping[str, Any]) -> list[str]:
    """The texts of one line of `epoch_table`, without the mark."""
    return [
        percent(record.get(key)) if decimals is None else number(record.get(key), decimals)
        for key, (_, _, decimals) in EPOCH_COLUMNS.items()
    ]


def _overall_table(scores: Mapping[str, Any], baselines: Mapping[str, float]) -> table.Table:
    intervals = intervals_module.of_saved(scores)
    result = table.Table(box=box.SIMPLE_HEAD, show_edge=False)
    result.add_column("score")
    result.add_column("value", justify="right", no_wrap=True)
    result.add_column(f"95% interval over {intervals['units']:,} {intervals['unit']}")
    result.add_row("pictures", str(scores["examples"]))
    for name in _present(scores):
        result.add_row(_worded(name, scores), score(name, scores[name]), _interval(name, intervals))
        if name == "accuracy":
            for row in _baseline_rows(scores["accuracy"], baselines):
                result.add_row(*row[:3], style=row[3])
    if scores.get("subjects"):
        result.add_section()
        for row in _subject_rows(scores["subjects"]):
            result.add_row(*row)
    return result


def _present(scores: Mapping[str, Any]) -> list[str]:
    """The overall scores that are there, in the order in which they are shown."""
    tables = (
        scores_module.OVERALL,
        scores_module.OF_TWO_CLASSES,
        scores_module.OVERALL_FROM_PROBABILITIES,
    )
    return [name for table in tables for name in table if name in scores]


def _worded(name: str, scores: Mapping[str, Any]) -> text.Text:
    """A score's name; of those of two classes also which is the positive one."""
    is_of_two = name in scores_module.OF_TWO_CLASSES
    return text.Text(wording(name) + (f" ({scores['positive_class']})" if is_of_two else ""))


def _interval(name: str, intervals: Mapping[str, Any]) -> str:
    if name not in intervals["bounds"]:
        return ""
    low, high = (score(name, bound) for bound in intervals["bounds"][name])
    return DASH if low == high == DASH else f"{low} to {high}"


def _baseline_rows(
    accuracy: float, baselines: Mapping[str, float]
) -> Iterator[tuple[text.Text, str, str, str]]:
    """Name, accuracy, by how much the model is better, and the row's style."""
    for baseline, share in baselines.items():
        lead = f"model {100 * (accuracy - share):+.2f} points"
        note, style = (f"{lead}, not beaten", "red") if accuracy <= share else (lead, "dim")
        note = "" if math.isnan(accuracy - share) else note
        yield text.Text(f"  baseline: {baseline}"), percent(share), note, style


def _subject_rows(subjects: Mapping[str, Any]) -> Iterator[tuple[str | text.Text, str, str]]:
    """Of `evaluation.subjects.summary`: name, value, note."""
    of_one_class = subjects["of_one_class"]
    yield "subjects", str(subjects["count"]), ""
    right = f"{subjects['majority_right']} of {of_one_class}"
    yield "  named rightly by their commonest call", percent(subjects["majority_accuracy"]), right
    least, median = (percent(subjects[f"{name}_accuracy"]) for name in ("least", "median"))
    mean = percent(subjects["mean_accuracy"])
    yield "  a subject's accuracy, mean", mean, f"least {least}, median {median}"
    for name, own in subjects["per_class"].items():
        note = f"{own['majority_right']} of {own['count']} named rightly"
        yield text.Text(f"    {name}"), percent(own["mean_accuracy"]), note


def _class_table(per_class: Mapping[str, Mapping[str, Any]]) -> table.Table:
    every = [*scores_module.PER_CLASS, *scores_module.PER_CLASS_FROM_PROBABILITIES]
    present = {name for row in per_class.values() for name in row}
    names = [name for name in every if name in present and name != "support"]
    result = table.Table(box=box.SIMPLE_HEAD, show_edge=False)
    result.add_column("class", overflow="fold")
    for name in [*names, "support"]:
        result.add_column(NARROW.get(name, wording(name)), justify="right", no_wrap=True)
    for class_name, row in per_class.items():
        cells = [score(name, row.get(name)) for name in names]
        result.add_row(text.Text(class_name), *cells, str(row["support"]))
    return result
