import math

import numpy as np
import pytest

from jaxall.evaluation import scores, spread


def found(matrix) -> dict:
    return scores.from_confusion(np.array(matrix), ("a", "b"))


def test_mean_and_deviation_are_those_of_numpy():
    runs = [found([[8, 2], [1, 9]]), found([[5, 5], [0, 10]]), found([[9, 1], [2, 8]])]
    values = [run["accuracy"] for run in runs]
    assert spread.over_runs(runs)["accuracy"] == pytest.approx(
        {
            "mean": np.mean(values),
            "deviation": np.std(values, ddof=1),
            "lowest": 0.75,
            "highest": 0.85,
        }
    )


def test_a_score_that_one_run_lacks_is_undefined_for_all():
    result = spread.over_runs([found([[8, 2], [1, 9]]), found([[5, 0], [0, 0]])])
    assert all(math.isnan(value) for value in result["kappa"].values())
    assert not math.isnan(result["accuracy"]["mean"])


def test_one_run_has_no_deviation():
    result = spread.over_runs([found([[8, 2], [1, 9]])])["accuracy"]
    assert result["mean"] == result["lowest"] == 0.85 and math.isnan(result["deviation"])
