import io
import math

import numpy as np
import pytest
from rich import console

from jaxall.evaluation import intervals, predictions, scores, subjects
from jaxall.reporting import tables

CLASSES = ("Benign [cd10+]", "Early", "Pre")
EPOCHS = [
    {
        "epoch": number,
        "train_loss": 1.25,
        "train_accuracy": 0.5,
        "validation_loss": math.nan if number == 1 else 1.5,
        "validation_accuracy": 1.0,
        "validation_balanced_accuracy": 0.123456,
        "validation_f1_macro": 0.9,
        "validation_kappa": -0.25,
        "images_per_second": 1234.5,
        "seconds": 61.04,
    }
    for number in (1, 2, 3)
]


def shown(renderable: object, width: int = 100) -> str:
    output = io.StringIO()
    console.Console(file=output, width=width, color_system=None).print(renderable)
    return output.getvalue()


def some_scores() -> dict:
    made = predictions.Predictions(
        names=("a", "b", "c", "d"),
        labels=np.array([0, 0, 1, 1]),
        probabilities=np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0, 1, 0], [0.1, 0.8, 0.1]]),
        class_names=CLASSES,
    )
    return scores.from_predictions(made)


def row(text: str, start: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.strip().startswith(start)]
    return line.strip().removeprefix(start).split()


def test_shares_are_percent_and_other_figures_have_four_decimals():
    text = shown(tables.score_table(some_scores(), title="test side [of x]"))
    assert text.splitlines()[0].strip() == "test side [of x]"
    assert row(text, "pictures") == ["4"]
    assert row(text, "score")[1:] == ["95%", "interval", "over", "4", "pictures"]
    assert row(text, "accuracy") == ["75.00%", "30.06%", "to", "95.44%"]
    assert row(text, "balanced accuracy") == ["75.00%"]
    assert row(text, "F1 macro") == ["73.33%"]
    assert row(text, "Cohen's kappa") == ["0.5000"]
    assert row(text, "AUROC") == ["–"]  # noqa: RUF001 - the en dash is meant
    assert row(text, "loss") == ["0.5139"]


def test_each_class_has_its_row_with_dashes_for_what_is_undefined():
    text = shown(tables.score_table(some_scores()))
    headings = "precision recall specificity F1 AUROC av. prec. support"
    assert row(text, "class") == headings.split()
    first = ["100.00%", "50.00%", "100.00%", "66.67%", "1.0000", "1.0000", "2"]
    assert row(text, CLASSES[0]) == first
    dash = tables.DASH
    assert row(text, "Pre") == [dash, dash, "100.00%", dash, dash, dash, "0"]


def of_two_classes() -> dict:
    generator = np.random.default_rng(0)
    subject = generator.integers(0, 6, 90)
    made = predictions.Predictions(
        names=tuple(map(str, range(90))),
        subjects=tuple(f"S{i}" for i in subject),
        labels=subject % 2,
        probabilities=generator.dirichlet([1, 1], 90),
        class_names=("HEM [normal]", "ALL"),
    )
    return {
        **scores.from_predictions(made),
        "intervals_95": intervals.of(made),
        "subjects": subjects.summary(subjects.of(made), made.class_names),
    }


def test_intervals_stand_beside_their_scores_and_say_what_was_drawn():
    found = of_two_classes()
    text = shown(tables.score_table(found))
    assert row(text, "score")[1:] == ["95%", "interval", "over", "6", "subjects"]
    for name, start in (("accuracy", "accuracy"), ("sensitivity", "sensitivity (ALL)")):
        low, high = (tables.percent(bound) for bound in found["intervals_95"]["bounds"][name])
        assert row(text, start)[:4] == [tables.percent(found[name]), low, "to", high]
    assert row(text, "Cohen's kappa")[2] == "to"
    assert len(row(text, "loss")) == 1
    assert max(map(len, text.splitlines())) <= 100


def test_an_interval_that_is_unknown_is_one_dash():
    found = of_two_classes()
    found["intervals_95"]["bounds"]["auroc"] = [math.nan, math.nan]
    text = shown(tables.score_table(found))
    assert row(text, "AUROC ") == [tables.number(found["auroc"]), tables.DASH]


def test_subjects_are_summed_up_under_the_scores():
    found = of_two_classes()
    text = shown(tables.score_table(found))
    summary = found["subjects"]
    assert row(text, "subjects") == ["6"]
    share = tables.percent(summary["majority_accuracy"])
    right = [share, str(summary["majority_right"]), "of", "6"]
    assert row(text, "named rightly by their commonest call") == right
    least, median = (tables.percent(summary[f"{x}_accuracy"]) for x in ("least", "median"))
    wanted = [tables.percent(summary["mean_accuracy"]), "least", f"{least},", "median", median]
    assert row(text, "a subject's accuracy, mean") == wanted
    assert "named rightly by most" not in shown(tables.score_table(some_scores()))


def test_baselines_stand_beside_the_model_and_an_unbeaten_one_is_marked():
    baselines = {"majority": 0.5, "colour [1-NN]": 0.975, "level": 0.75, "none": math.nan}
    text = shown(tables.score_table(some_scores(), baselines=baselines))
    assert row(text, "baseline: majority") == ["50.00%", "model", "+25.00", "points"]
    unbeaten = ["97.50%", "model", "-22.50", "points,", "not", "beaten"]
    assert row(text, "baseline: colour [1-NN]") == unbeaten
    assert row(text, "baseline: level")[-2:] == ["not", "beaten"]
    assert row(text, "baseline: none") == [tables.DASH]


def test_scores_without_probabilities_have_no_row_for_what_needs_them():
    text = shown(tables.score_table(scores.from_confusion([[3, 1], [0, 0]], ("a", "b"))))
    assert "AUROC" not in text
    assert "loss" not in text
    assert row(text, "class") == ["precision", "recall", "specificity", "F1", "support"]


def test_the_score_table_survives_no_pictures_and_null():
    empty = scores.from_confusion(np.zeros((2, 2), np.int64), ("a", "b"))
    assert row(shown(tables.score_table(empty)), "accuracy")[0] == tables.DASH
    assert tables.score("kappa", None) == tables.percent(None) == tables.DASH


def test_long_class_names_are_folded_and_not_cut():
    name = "precursor B-cell acute lymphoblastic leukemia with hyperdiploidy"
    table = tables.score_table(scores.from_confusion([[3, 1], [0, 2]], (name, "b")))
    text = shown(table, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert all(word in text for word in name.split())
    assert "…" not in text


def test_an_epoch_is_one_line_of_eighty_columns_with_the_best_marked():
    text = shown(tables.epoch_table(EPOCHS, best=1), 80)
    lines = text.splitlines()
    assert len(lines) == 2 + 3
    assert max(map(len, lines)) <= 80
    wanted = "1.2500 50.00% – 100.00% 12.35% 90.00% -0.2500 1234 61.0"  # noqa: RUF001 - en dash
    assert row(text, "1") == wanted.split()
    assert row(text, "2")[-1] == tables.BEST
    assert [line.endswith(tables.BEST) for line in map(str.rstrip, lines[2:])] == [
        False,
        True,
        False,
    ]


def test_lines_printed_one_by_one_stand_under_the_same_heading():
    whole = shown(tables.epoch_table(EPOCHS, best=1)).splitlines()
    single = shown(tables.epoch_table(EPOCHS[:1], show_header=False)).splitlines()
    assert [line.rstrip() for line in single] == [whole[2].rstrip()]


def test_an_epoch_with_nothing_recorded_is_dashes():
    cells = tables.epoch_cells({"epoch": 7, "validation_loss": None})
    assert cells == ["7"] + [tables.DASH] * (len(tables.EPOCH_COLUMNS) - 1)


@pytest.mark.parametrize(
    ("name", "words", "figure"),
    [
        ("validation_f1_macro", "validation F1 macro", "50.00%"),
        ("validation_kappa", "validation Cohen's kappa", "0.5000"),
        ("train_loss", "train loss", "0.5000"),
        ("a_new_score", "a new score", "50.00%"),
    ],
)
def test_scores_are_worded_and_written_by_their_name(name: str, words: str, figure: str):
    assert tables.wording(name) == words
    assert tables.score(name, 0.5) == figure
