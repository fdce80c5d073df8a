"""One prediction from several models' of the same pictures, and which models to take.

Models may be of any architecture, fold or seed. Weights and choices rest on validation predictions
only: made on the pictures that are scored in the end, they would flatter the ensemble.
"""

import collections
from collections.abc import Callable, Sequence

import numpy as np

from jaxall import errors
from jaxall.evaluation import metrics
from jaxall.evaluation.predictions import Predictions

NAMED = 3  # pictures of a mismatch that are listed


def mean(stacked: np.ndarray) -> np.ndarray:
    """Mean of the members' probabilities: [M,N,K] -> [N,K]."""
    return stacked.mean(0)


def logits(stacked: np.ndarray) -> np.ndarray:
    """Mean of the members' logits up to a constant, log p, made probabilities again.

    [M,N,K] -> [N,K]. A p of 0 counts as the smallest normal float64.
    """
    means = np.log(np.maximum(stacked, np.finfo(np.float64).tiny)).mean(0)
    powers = np.exp(means - means.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def vote(stacked: np.ndarray) -> np.ndarray:
    """Each member has a vote, for its likeliest class; [M,N,K] -> [N,K].

    The mean probabilities are one vote more, shared out: they decide between classes with equally
    many votes, and never against a class with more. Divided by M + 1.
    """
    votes = np.eye(stacked.shape[2])[stacked.argmax(2)]
    return (votes.sum(0) + stacked.mean(0)) / (len(stacked) + 1)


RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": mean,
    "logits": logits,
    "vote": vote,
}
KAPPA = "kappa"  # the mean, weighted by Cohen's kappa on each member's validation pictures
BY = (*RULES, KAPPA)
WORDING = {
    "mean": "mean of the probabilities",
    "logits": "mean of the logits",
    "vote": "vote",
    KAPPA: "kappa-weighted mean",
}


def combine(
    members: Sequence[Predictions], by: str, validation: Sequence[Predictions] = ()
) -> Predictions:
    """The members' common prediction, in the order of the first; a subject is whoever knows it.

    Args:
        members: of the same pictures, in any order.
        by: one of `BY`.
        validation: for "kappa", each member's own validation predictions.

    Raises:
        UserError: the members don't agree on pictures, labels, subjects or classes; none is better
            than chance (for "kappa").
        ValueError: no members, an unknown rule, or not a validation prediction for each.
    """
    if not members or by not in BY:
        raise ValueError(f"wanted members and one of {BY}, got {len(members)} and {by!r}")
    first, *_ = aligned = align(members)
    stacked = np.stack([member.probabilities for member in aligned])
    if by == KAPPA:
        if len(validation) != len(members):
            came = f"{len(validation)} for {len(members)}"
            raise ValueError(f"wanted a validation prediction of each member, got {came}")
        weighted = np.tensordot(kappa_weights(validation), stacked, axes=1)
        probabilities = np.minimum(weighted, 1)  # the weights' sum may be off by rounding
    else:
        probabilities = RULES[by](stacked)
    return Predictions(
        names=first.names,
        subjects=tuple(map(_first_known, zip(*(one.subjects for one in aligned), strict=True))),
        labels=first.labels,
        probabilities=probabilities,
        class_names=first.class_names,
    )


def align(members: Sequence[Predictions]) -> list[Predictions]:
    """The members with their pictures in the order of the first.

    A name that is there several times stands for as many pictures, in their order.

    Raises:
        UserError: they don't agree on pictures, labels, subjects or classes; lists each mismatch.
    """
    first, problems, aligned = members[0], [], []
    order = _order(first)
    for number, member in enumerate(members, 1):
        own = _order(member)
        problem = _mismatch(first, order, member, own)
        if problem:
            problems.append(f"member {number}: {problem}")
            continue
        rows = np.empty_like(own)
        rows[order] = own
        aligned.append(
            Predictions(
                names=first.names,
                subjects=tuple(member.subjects[row] for row in rows),
                labels=member.labels[rows],
                probabilities=member.probabilities[rows],
                class_names=first.class_names,
            )
        )
    if problems:
        came = f"{len(problems)} of {len(members)} don't agree with the first, {problems[0]}"
        raise errors.UserError(f"an ensemble's members predict the same pictures; {came}", problems)
    return aligned


def kappa_weights(validation: Sequence[Predictions]) -> np.ndarray:
    """Cohen's kappa of each member's validation predictions, float64 [M], with sum 1.

    A kappa that isn't above 0, or isn't defined, is no better than chance and weighs nothing.

    Raises:
        UserError: that is so of all.
    """
    kappas = np.array([_kappa(member) for member in validation])
    weights = np.where(kappas > 0, kappas, 0.0)  # NaN is not above 0
    if not weights.any():
        came = ", ".join(f"{kappa:.4f}" for kappa in kappas)
        raise errors.UserError(
            f"no member of the ensemble is better than chance on validation: wanted a kappa above "
            f"0, got {came}"
        )
    return weights / weights.sum()


def select(
    validation: Sequence[Predictions],
    *,
    most: int | None = None,
) -> list[int]:
    """Positions of the models worth taking, the best first.

    Those that are no worse than chance on their validation pictures, ranked by Cohen's kappa, then
    weighted F1, then position; at most `most` of them. A kappa that isn't defined is never taken.

    Raises:
        UserError: none is good enough.
    """
    figures = [(_kappa(member), _f1(member)) for member in validation]
    passing = [
        (-kappa, -f1, position)
        for position, (kappa, f1) in enumerate(figures)
        if kappa >= 0  # NaN is not
    ]
    if not passing:
        came = ", ".join(f"{kappa:.4f}" for kappa, _ in figures) or "no models"
        raise errors.UserError(
            f"no model is good enough on validation: wanted a kappa of 0 or more, got {came}"
        )
    return [position for *_, position in sorted(passing)][:most]


def _kappa(predictions: Predictions) -> float:
    return float(metrics.cohen_kappa(predictions.confusion()))


def _f1(predictions: Predictions) -> float:
    return float(metrics.f1_weighted(predictions.confusion()))


def _first_known(subjects: Sequence[str]) -> str:
    return next(filter(None, subjects), "")


def _order(predictions: Predictions) -> np.ndarray:
    """Rows by name; rows of one name in their order."""
    names = predictions.names
    return np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)


def _mismatch(
    first: Predictions, order: np.ndarray, other: Predictions, own: np.ndarray
) -> str | None:
    """What tells `other` from `first`, both read in the order of their names; None if nothing."""
    if other.class_names != first.class_names:
        return f"classes {other.class_names}, not {first.class_names}"
    mine, theirs = collections.Counter(first.names), collections.Counter(other.names)
    if mine != theirs:
        lacking, extra = sorted((mine - theirs).elements()), sorted((theirs - mine).elements())
        return "; ".join(
            f"{word} {len(names)} pictures: {', '.join(names[:NAMED])}"
            for word, names in (("lacks", lacking), ("has other", extra))
            if names
        )
    pairs = list(zip(order.tolist(), own.tolist(), strict=True))
    for what, in_first, in_other, unknown in (
        ("labels", first.labels, other.labels, None),
        ("subjects", first.subjects, other.subjects, ""),
    ):
        differing = [
            row
            for row, its in pairs
            if in_first[row] != in_other[its] and unknown not in (in_first[row], in_other[its])
        ]
        if differing:
            names = ", ".join(first.names[row] for row in differing[:NAMED])
            return f"other {what} of {len(differing)} pictures: {names}"
    return None
