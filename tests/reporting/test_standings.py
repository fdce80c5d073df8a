import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxall.reporting import standings


def run(name: str, low: float, value: float, high: float) -> dict:
    return {
        "kind": "run",
        "name": name,
        "run": name.partition(",")[0],
        "accuracy": value,
        "accuracy_low": low,
        "accuracy_high": high,
    }


GOOD, POOR = run("good", 0.90, 0.95, 0.98), run("poor", 0.70, 0.80, 0.89)
BASELINE = {"kind": "baseline", "name": "colour", "accuracy": 0.99}
FOLDS = {"kind": "folds", "name": "cv", "accuracy": 0.99, "accuracy_deviation": 0.01}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([POOR, GOOD], 1),
        ([GOOD, POOR, BASELINE, FOLDS], 0),
        ([GOOD, run("near", 0.70, 0.80, 0.91)], None),
        ([GOOD], None),
        ([GOOD, BASELINE], None),
        ([run("never wrong", 1.0, 1.0, 1.0), POOR], None),
        ([GOOD, run("without interval", math.nan, 0.5, math.nan)], None),
        ([GOOD, {"kind": "run", "name": "without score", "run": "without score"}], None),
        ([POOR, GOOD, run("good, turned", 0.91, 0.96, 0.99)], 2),
        ([GOOD, run("good, turned", 0.70, 0.80, 0.85)], None),
        ([], None),
    ],
)
def test_a_run_leads_only_where_the_intervals_justify_it(rows, expected):
    assert standings.leader(rows, "accuracy") == expected


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3).map(sorted), min_size=1, max_size=5))
def test_a_leader_is_best_and_there_is_none_where_intervals_meet(bounds):
    rows = [run(str(i), *own) for i, own in enumerate(bounds)]
    best = standings.leader(rows, "accuracy")
    if best is None:
        return
    others = [row for i, row in enumerate(rows) if i != best]
    assert others and all(rows[best]["accuracy_low"] > row["accuracy_high"] for row in others)
    assert all(rows[best]["accuracy"] > row["accuracy"] for row in others)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([GOOD], ""),
        ([GOOD, run("good, turned", 0.91, 0.96, 0.99)], ""),
        ([POOR, GOOD], "By accuracy good is better than every other run beyond both intervals."),
        (
            [GOOD, run("as good", 0.90, 0.95, 0.98)],
            "By accuracy no run is better than all others beyond the 95 % intervals: their order "
            "may be chance.",
        ),
    ],
)
def test_the_verdict_is_one_sentence(rows, sentence):
    assert standings.verdict(rows, "accuracy") == sentence


def test_a_baseline_that_is_not_beaten_is_named():
    scores = {
        "examples": 10,
        "accuracy": 0.5,
        "wilson_95": [0.3, 0.7],
        "baselines": {"better": 0.6, "as good": 0.5, "worse": 0.4},
    }
    row = standings.of_scores("a", scores, {"model": "m"})
    assert row["not_beaten"] == ["better", "as good"]
    assert (row["model"], row["interval_over"]) == ("m", "10 pictures")


def test_baselines_stand_best_first():
    rows = standings.of_baselines({"a": 0.2, "b": 0.6, "c": 0.4}, 10)
    assert [row["name"] for row in rows] == ["b", "c", "a"]
