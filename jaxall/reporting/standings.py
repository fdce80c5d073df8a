"""The table in which runs stand: plain rows for files, programs and the page alike."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxall.evaluation import intervals as intervals_lib
from jaxall.evaluation import scores as scores_lib

# Shown in this order, where any row has them.
SCORES = (
    "accuracy",
    "balanced_accuracy",
    "f1_weighted",
    "f1_macro",
    "kappa",
    "sensitivity",
    "specificity",
    "auroc",
)
RUN, FOLDS, BASELINE = "run", "folds", "baseline"  # kinds of row


def of_scores(
    name: str, scores: Mapping[str, Any], facts: Mapping[str, Any], run: str = ""
) -> dict[str, Any]:
    """The row of one evaluation: each score, with "..._low" and "..._high" where they are known.

    Args:
        name: what it is called.
        scores: as in a scores.json; without "intervals_95" only the accuracy has an interval.
        facts: other columns ("model", "checkpoint" and so on).
        run: what is called by this name may have several rows; `name` if empty.
    """
    intervals = intervals_lib.of_saved(scores)
    row = {
        "kind": RUN,
        "name": name,
        "run": run or name,
        **facts,
        "pictures": scores["examples"],
        "interval_over": f"{intervals['units']:,} {intervals['unit']}",
        "not_beaten": [
            baseline
            for baseline, share in (scores.get("baselines") or {}).items()
            if scores["accuracy"] <= share
        ],
    }
    for score in SCORES:
        if score in scores:
            low, high = intervals["bounds"].get(score, (math.nan, math.nan))
            row |= {score: scores[score], f"{score}_low": low, f"{score}_high": high}
    return row


def of_folds(
    name: str, spread: Mapping[str, Mapping[str, float]], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The row of a cross-validation: the folds' mean, with "..._deviation"."""
    row = {"kind": FOLDS, "name": name, **facts}
    for score in SCORES:
        if score in spread:
            row[score] = spread[score]["mean"]
            row[f"{score}_deviation"] = spread[score]["deviation"]
    return row


def of_baselines(baselines: Mapping[str, float], pictures: int) -> list[dict[str, Any]]:
    """Rows of what needs no network, of which the accuracy alone is known; the best first."""
    ranked = sorted(baselines.items(), key=lambda item: -item[1])
    return [
        {"kind": BASELINE, "name": name, "pictures": pictures, "accuracy": share}
        for name, share in ranked
    ]


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The scores that any row has, in their order."""
    return [score for score in SCORES if any(score in row for row in rows)]


def lacks_interval(row: Mapping[str, Any], score: str) -> bool:
    """Whether a run has a score but no interval of it."""
    is_known = row["kind"] == RUN and math.isfinite(row.get(score, math.nan))
    return is_known and math.isnan(row[f"{score}_low"])


def leader(rows: Sequence[Mapping[str, Any]], score: str) -> int | None:
    """Position of the run that is better than every other beyond both their intervals, if any.

    Intervals that don't overlap are more than it takes for a difference to be real; where they do,
    nobody leads. Nor does anyone where a run has no interval or one without width, or is alone. Of
    a run that was scored in several ways, the best row stands for it.
    """
    runs = [position for position, row in enumerate(rows) if row["kind"] == RUN]
    low, high = (
        {position: rows[position].get(f"{score}_{end}", math.nan) for position in runs}
        for end in ("low", "high")
    )
    is_known = all(low[position] < high[position] for position in runs)
    if _count(rows) < 2 or not is_known:
        return None
    best = max(runs, key=lambda position: rows[position][score])
    others = [position for position in runs if rows[position]["run"] != rows[best]["run"]]
    return best if all(low[best] > high[position] for position in others) else None


def verdict(rows: Sequence[Mapping[str, Any]], wording: str, score: str = "accuracy") -> str:
    """One sentence on whether a score tells the runs apart; "" of fewer than two runs."""
    if _count(rows) < 2:
        return ""
    best = leader(rows, score)
    if best is None:
        return (
            f"By {wording} no run is better than all others beyond the 95 % intervals: their "
            "order may be chance."
        )
    return (
        f"By {wording} {rows[best]['name']} is better than every other run beyond both intervals."
    )


def _count(rows: Sequence[Mapping[str, Any]]) -> int:
    """Runs, however often each was scored."""
    return len({row["run"] for row in rows if row["kind"] == RUN})


def is_share(score: str) -> bool:
    """Whether a score is a share of pictures, to be shown in percent."""
    return score not in scores_lib.NOT_SHARES
