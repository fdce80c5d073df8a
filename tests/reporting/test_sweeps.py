"""The table, the CSV and the plot of a sweep's trials."""

import csv
import io

import pytest
from PIL import Image
from rich import console as rich_console

from jaxall.reporting import progress, sweeps

KEY = "validation_f1_macro"


def trial(number, score, state="complete", **changed):
    settings = {"optim.learning_rate": 10.0 ** -(number + 1), "model.head": "linear"}
    return sweeps.Trial(
        **{"number": number, "state": state, "score": score, "epochs": 4, "settings": settings}
        | changed
    )


TRIALS = [
    trial(0, 0.5),
    trial(1, 0.95, "pruned"),
    trial(2, None, "failed", error="the loss [is] not finite", epochs=0),
    trial(3, 0.75, command="python -m jaxall.train, and so on"),
    trial(4, 0.99, "unfinished"),
    trial(5, 0.6, settings={}),
]


def lines(renderable):
    console = rich_console.Console(width=100, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("key", "number"), [(KEY, 3), ("validation_loss", 0)])
def test_only_a_complete_trial_is_the_best(key, number):
    assert sweeps.best(TRIALS, key).number == number


def test_there_is_no_best_before_a_trial_is_complete():
    assert sweeps.best(TRIALS[1:3], KEY) is None


def test_the_table_has_a_line_for_each_trial_and_the_errors_below():
    said = lines(sweeps.trial_table(TRIALS, KEY))
    rows = [line.split() for line in said[-len(TRIALS) - 1 :]]
    assert rows[0] == ["0", "50.00%", "4", "0.1", "linear", "complete"]
    assert rows[2] == ["2", "\u2013", "0", "0.001", "linear", "failed"]
    assert rows[3] == ["3", "75.00%", "4", "0.0001", "linear", "complete", "*"]
    assert rows[5] == ["5", "60.00%", "4", "\u2013", "\u2013", "complete"]
    assert said[-1].rstrip() == "trial 2 failed: the loss [is] not finite"


def test_the_csv_loses_nothing():
    rows = list(csv.DictReader(io.StringIO(sweeps.to_csv(TRIALS, KEY))))
    assert [int(row["trial"]) for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row[KEY] and float(row[KEY]) for row in rows] == [0.5, 0.95, "", 0.75, 0.99, 0.6]
    assert float(rows[4]["optim.learning_rate"]) == 10.0**-5
    assert rows[2]["error"] == "the loss [is] not finite"
    assert rows[3]["command"] == "python -m jaxall.train, and so on"


@pytest.mark.parametrize("key", [KEY, "validation_loss", "validation_kappa"])
@pytest.mark.parametrize("count", [1, 6])
def test_the_plot_is_drawn_and_the_same_again(tmp_path, key, count):
    for name in ("a.png", "b.png"):
        sweeps.draw(TRIALS[:count], key, tmp_path / name, ["optim.learning_rate"], "a $title$")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as plot:
        assert plot.size == (9 * 144, int(5.6 * 144))


def test_the_plot_shows_every_trial_that_has_a_score(tmp_path):
    sweeps.draw(TRIALS, KEY, tmp_path / "all.png")
    for left_out in (1, 2, 4):
        fewer = [x for x in TRIALS if x.number != left_out]
        sweeps.draw(fewer, KEY, tmp_path / "fewer.png")
        assert (tmp_path / "fewer.png").read_bytes() != (tmp_path / "all.png").read_bytes()


def test_no_trials_make_no_plot(tmp_path):
    with pytest.raises(ValueError, match="at least one trial"):
        sweeps.draw([], KEY, tmp_path / "none.png")


def test_the_bar_shows_how_many_are_done_and_the_best():
    console = rich_console.Console(width=140, file=io.StringIO(), force_terminal=True)
    with progress.sweep_bar(console, 20) as report:
        report(3.5, "trial 2, validation F1 macro 91.00%")
    said = console.file.getvalue()
    assert "3.5/20 trials" in said
    assert "trial 2, validation F1 macro 91.00%" in said
