"""What an audit says in words: one sentence a finding, the weightiest first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxall import errors

GIVEAWAY = 0.05  # lead over the commonest class from which a file's kind is a shortcut
STRONG_BASELINE = 0.20  # lead over the commonest class from which a baseline is warned of
IMBALANCE = 3  # pictures of the largest class for one of the smallest
FEW_SUBJECTS = 10  # of a class: fewer can't stand for it
LARGE_SUBJECT = 0.10  # share of all pictures
COMMONEST = "commonest class"


def of(found: Mapping[str, Any]) -> list[str]:
    """The sentences about an audit, "warnings" left aside."""
    return [
        *_leaks(found),
        *_conflicts(found),
        *_misnamed(found),
        *_missing_subjects(found),
        *_shortcuts(found),
        *_copies(found),
        *_quarantined(found),
        *_uneven(found),
        *_outliers(found),
    ]


def _leaks(found: Mapping[str, Any]) -> Iterator[str]:
    words = {
        "split": "more than one side of the split",
        "folds": "more than one of the data set's folds",
        "own split": "more than one side of the data set's own split",
    }
    for name, across in found["across"].items():
        if across["duplicates"]:
            yield (
                f"{_count(across['duplicates'], 'group')} of copies on {words[name]}, where memory "
                f"scores; the first: {errors.some(across['duplicates'][0])}"
            )
        if across["subjects"]:
            yield (
                f"{_count(across['subjects'], 'subject')} with pictures on {words[name]}: "
                f"{errors.some(across['subjects'])}"
            )


def _conflicts(found: Mapping[str, Any]) -> Iterator[str]:
    if found["conflicts"]:
        yield (
            f"{_count(found['conflicts'], 'group')} of copies in more than one class, where a "
            f"label must be wrong; the first: {errors.some(found['conflicts'][0])}"
        )


def _misnamed(found: Mapping[str, Any]) -> Iterator[str]:
    if groups := found.get("misnamed"):
        first = [f"{path} of {subject or 'nobody'}" for path, subject in groups[0].items()]
        yield (
            f"{_count(groups, 'group')} of copies under the names of several subjects, of whom one "
            f"must be wrong, or both are one; the first: {errors.some(first)}"
        )


def _missing_subjects(found: Mapping[str, Any]) -> Iterator[str]:
    subjects = found["subjects"]
    if subjects["unnamed"] and not subjects["count"]:
        yield "no subject is named: no patient split is possible"
    elif subjects["unnamed"]:
        yield f"{_count(subjects['unnamed'], 'picture')} without a subject: each is dealt by itself"


def _shortcuts(found: Mapping[str, Any]) -> Iterator[str]:
    commonest = max(found["classes"].values(), default=0) / max(found["pictures"], 1)
    for name, share in found["giveaways"].items():
        if share - commonest >= GIVEAWAY:
            yield (
                f"the {name} of the file alone tells the class of {share:.1%} of the pictures "
                f"({COMMONEST}: {commonest:.1%})"
            )
    for side, baselines in found.get("baselines", {}).items():
        least = baselines.get(COMMONEST, commonest)
        high = [
            f"{name} {share:.1%}"
            for name, share in baselines.items()
            if share - least >= STRONG_BASELINE
        ]
        if high:
            yield (
                f"what sees no cell's shape scores on the {side} side: {', '.join(high)} "
                f"({COMMONEST}: {least:.1%})"
            )


def _copies(found: Mapping[str, Any]) -> Iterator[str]:
    duplicates = found["duplicates"]
    if duplicates["groups"]:
        exact = (
            f" ({duplicates['copies']:,} could go as exact ones)" if duplicates["copies"] else ""
        )
        yield (
            f"{_count(duplicates['pictures'], 'picture')} in "
            f"{_count(duplicates['groups'], 'group')} of exact or near copies{exact}"
        )


def _quarantined(found: Mapping[str, Any]) -> Iterator[str]:
    if found["quarantined"]:
        yield (
            f"{_count(found['quarantined'], 'picture')} left out as unreadable: "
            f"{errors.some(list(found['quarantined']))}"
        )


def _uneven(found: Mapping[str, Any]) -> Iterator[str]:
    classes, subjects = found["classes"], found["subjects"]
    largest, smallest = max(classes, key=classes.get), min(classes, key=classes.get)
    if classes[largest] >= IMBALANCE * classes[smallest]:
        yield (
            f"the classes are uneven: {largest} has {classes[largest]:,} pictures, "
            f"{smallest} {classes[smallest]:,}"
        )
    if subjects["count"]:
        for name, count in subjects["by_class"].items():
            if count < FEW_SUBJECTS:
                yield f"class {name} has pictures of {_count(count, 'subject')} only"
    for subject, count in subjects["largest"].items():
        if count >= LARGE_SUBJECT * found["pictures"] and subjects["count"] > 1 / LARGE_SUBJECT:
            share = count / found["pictures"]
            yield f"subject {subject} alone has {share:.1%} of the pictures"


def _outliers(found: Mapping[str, Any]) -> Iterator[str]:
    for name, kind in found["outliers"].items():
        if kind["pictures"]:
            yield (
                f"{_count(kind['pictures'], 'picture')} {name} beside the others: "
                f"{errors.some(list(kind['pictures']))}"
            )


def _count(counted: int | Sequence[Any] | Mapping[str, Any], noun: str) -> str:
    number = counted if isinstance(counted, int) else len(counted)
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
