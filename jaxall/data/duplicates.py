"""Pictures that are another's copy, exactly or nearly; they belong on one side of a split."""

import collections
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from jaxall.data import checking, dataset

_BLOCK = 1024  # pictures compared with all others at a time: 40 MB of correlations for 10,000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Which pictures repeat each other.

    Attributes:
        groups: positions of the pictures of each group, ascending; two or more in each.
        reasons: per picture "exact duplicate of PATH", "near duplicate of PATH (0.971)" or "".
        copies: how many pictures could go without losing a distinct one.
    """

    groups: tuple[tuple[int, ...], ...]
    reasons: tuple[str, ...]
    copies: int

    @property
    def pictures(self) -> int:
        """How many pictures stand in a group."""
        return sum(map(len, self.groups))


def find(
    data_set: dataset.DataSet, checked: checking.Checked, *, near_duplicate: float = 0.95
) -> Duplicates:
    """Finds exact duplicates (the same decoded pixels) and near ones.

    Two pictures are near duplicates if the correlation of their 16x16 RGB thumbnails, over all
    768 values, is above `near_duplicate`. That fits pictures of whole fields, whose unrelated
    pairs stay well below 0.9; single cells cut out on black resemble each other far more and
    need a higher bound. 1.0 finds exact duplicates only. Turned and mirrored copies aren't found.

    Raises:
        ValueError: the bound isn't in (0, 1], or `checked` is of another table.
    """
    if not 0 < near_duplicate <= 1:
        raise ValueError(f"wanted a near_duplicate in (0, 1], got {near_duplicate}")
    paths = [row.path for row in data_set.rows]
    if len(paths) != len(checked.pixels):
        raise ValueError(f"wanted {len(paths)} checked pictures, got {len(checked.pixels)}")
    reasons = [""] * len(paths)
    partition = Partition(len(paths))
    for position, others, correlations in _near(checked.thumbnails, near_duplicate):
        partition.join(np.append(others, position))
        best = int(np.argmax(correlations))
        reasons[position] = f"near duplicate of {paths[others[best]]} ({correlations[best]:.3f})"
    exact = _same(checked.pixels)
    for positions in exact:
        partition.join(positions)
        for position in positions:
            first = next(other for other in positions if other != position)
            reasons[position] = f"exact duplicate of {paths[first]}"
    return Duplicates(
        groups=partition.groups(),
        reasons=tuple(reasons),
        copies=sum(len(positions) - 1 for positions in exact),
    )


class Partition:
    """Positions below `count`, each alone until joined with others."""

    def __init__(self, count: int) -> None:
        self._first = np.arange(count)  # the first member of each position's set

    def join(self, positions: Sequence[int] | np.ndarray) -> None:
        """Puts the positions, and all that they were joined with before, into one set."""
        firsts = np.unique(self._first[list(positions)])
        if len(firsts) > 1:
            self._first[np.isin(self._first, firsts)] = firsts[0]

    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The sets of two or more, members ascending, ordered by their first member."""
        members = collections.defaultdict(list)
        for position, first in enumerate(self._first.tolist()):
            members[first].append(position)
        return tuple(tuple(group) for group in members.values() if len(group) > 1)


def _same(pixels: Sequence[str]) -> list[list[int]]:
    positions = collections.defaultdict(list)
    for position, digest in enumerate(pixels):
        positions[digest].append(position)
    return [group for group in positions.values() if len(group) > 1]


def _near(thumbnails: np.ndarray, bound: float) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields (position, positions of its near duplicates, their correlations) where any are."""
    flat = thumbnails.reshape(len(thumbnails), checking.THUMBNAIL_SIZE**2 * 3).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    # A picture of one colour correlates with nothing.
    flat = np.divide(flat, norms, out=np.zeros_like(flat), where=norms > 0)
    for start in range(0, len(flat), _BLOCK):
        correlations = np.minimum(flat[start : start + _BLOCK] @ flat.T, 1.0)
        rows = np.arange(len(correlations))
        correlations[rows, start + rows] = -1.0
        above = correlations > bound
        for row in np.flatnonzero(above.any(axis=1)):
            others = np.flatnonzero(above[row])
            yield start + int(row), others, correlations[row, others]
