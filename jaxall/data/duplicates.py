"""Pictures that are another's copy, exactly or nearly; they belong on one side of a split."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxall.data import checking, dataset, likeness

NEAR = 0.8  # correlation above which pictures are near duplicates, unless another is asked for


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Which pictures repeat each other.

    Attributes:
        groups: positions of the pictures of each group, ascending; two or more in each.
        reasons: per picture "exact duplicate of PATH", "near duplicate of PATH (0.971)", "near
            duplicate of PATH (0.971, turned by 90 degrees)" or "". Turns are anticlockwise, what
            is mirrored is so left to right, and before it is turned.
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
    data_set: dataset.DataSet, checked: checking.Checked, *, near_duplicate: float = NEAR
) -> Duplicates:
    """Finds exact duplicates (the same decoded pixels) and near ones.

    Two pictures are near duplicates if they correlate above `near_duplicate` at 16x16 pixels in
    some position of the eight that turning and mirroring give; see `likeness` for what that leaves
    out. Unrelated fields stay below 0.6 and different cells cut out on black below 0.7, while the
    same field photographed twice, a few cells further on, falls to 0.8. 1.0 finds exact duplicates
    only.

    Raises:
        ValueError: the bound isn't in (0, 1], or `checked` is of another table.
    """
    if not 0 < near_duplicate <= 1:
        raise ValueError(f"wanted a near_duplicate in (0, 1], got {near_duplicate}")
    paths = [row.path for row in data_set.rows]
    if len(paths) != len(checked.pixels):
        raise ValueError(f"wanted {len(paths)} checked pictures, got {len(checked.pixels)}")
    pairs = likeness.find(checked.contents, near_duplicate)
    exact = same(checked.pixels)
    partition = Partition(len(paths))
    for group in (*zip(pairs.first.tolist(), pairs.second.tolist(), strict=True), *exact):
        partition.join(group)
    reasons = _near_reasons(paths, pairs)
    for positions in exact:
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

    def join(self, positions: Sequence[int]) -> None:
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


def same(pixels: Sequence[str]) -> list[list[int]]:
    """Positions of equal digests, ascending, wherever there are two or more."""
    positions = collections.defaultdict(list)
    for position, digest in enumerate(pixels):
        positions[digest].append(position)
    return [group for group in positions.values() if len(group) > 1]


def _near_reasons(paths: Sequence[str], pairs: likeness.Pairs) -> list[str]:
    """Each picture's nearest; of equals the one as it is, then the first."""
    reasons = [""] * len(paths)
    every = pairs.both_ways()
    order = np.lexsort((every.second, every.position, -np.round(every.correlation, 6), every.first))
    firsts, best = np.unique(every.first[order], return_index=True)
    for first, pair in zip(firsts.tolist(), order[best], strict=True):
        other, words = paths[int(every.second[pair])], likeness.WORDS[int(every.position[pair])]
        told = f"{every.correlation[pair]:.3f}" + (f", {words}" if words else "")
        reasons[first] = f"near duplicate of {other} ({told})"
    return reasons
