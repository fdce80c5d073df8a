"""Scores of several runs of one kind: their mean and how far they lie apart."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxall.evaluation import scores as scores_lib


def over_runs(found: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean, sample standard deviation, lowest and highest of each overall score.

    Args:
        found: the runs' scores, as `scores.from_predictions` gives them.

    Returns:
        By score; all four are NaN where the score of any run is, for a mean over the others would
        be one over easier data. The deviation of a single run is NaN.
    """
    names = [*scores_lib.OVERALL, *scores_lib.OVERALL_FROM_PROBABILITIES]
    return {
        name: _spread(np.array([one[name] for one in found], np.float64))
        for name in names
        if all(name in one for one in found)
    }


def _spread(values: np.ndarray) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "deviation": float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
        "lowest": float(values.min()),
        "highest": float(values.max()),
    }
