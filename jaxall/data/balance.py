"""How often each picture is drawn: classes and subjects are seldom of one size.

A class is drawn from as from a deck of cards: every picture once in a random order, then every
picture once in another. Where subjects are to count alike, a class deals its subjects in this way,
and each subject its pictures. Every draw is a pure function of the seed and its number.
"""

import collections
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxall import errors
from jaxall.data import decks

SAMPLING = ("none", "oversample", "class", "subject", "class_and_subject")
OF_CLASSES = ("oversample", "class", "class_and_subject")  # those that show classes equally often
_OF_SUBJECTS = ("subject", "class_and_subject")


@dataclasses.dataclass(kw_only=True)
class BalanceSettings:
    """What the training pictures are balanced by.

    Attributes:
        sampling: "none" shows every picture once an epoch. "oversample" does too, and repeats
            pictures of the smaller classes until all classes are of the largest one's size: the
            epoch grows. The others leave the epoch's length as it is: "class" fills every batch
            with equally many of each class, "subject" draws from every subject of a class equally
            often, "class_and_subject" does both.
    """

    sampling: str = "none"

    def validate(self) -> None:
        """Raises UserError if no sampling has this name."""
        if self.sampling not in SAMPLING:
            raise errors.UserError(
                f"balance.sampling is one of {', '.join(SAMPLING)}; got {self.sampling!r}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """The pictures of the training side, and how often each is drawn.

    Attributes:
        labels: of the pictures, int [N]; each of the K classes has one at least.
        subjects: of the pictures, "" where unknown.
        class_names: of the K classes.
        settings: what is balanced.

    Raises:
        UserError: no such sampling, or it needs subjects that aren't known.
    """

    labels: np.ndarray
    subjects: Sequence[str]
    class_names: Sequence[str]
    settings: BalanceSettings

    def __post_init__(self) -> None:
        self.settings.validate()
        if len(self.labels) != len(self.subjects):
            raise ValueError(f"{len(self.labels)} labels have {len(self.subjects)} subjects")
        if not self.class_counts.all():
            raise ValueError(f"every class needs a picture, there are {self.class_counts}")
        unknown = sum(not subject for subject in self.subjects)
        if self.settings.sampling in _OF_SUBJECTS and unknown:
            others = ", ".join(kind for kind in SAMPLING if kind not in _OF_SUBJECTS)
            raise errors.UserError(
                f"balance.sampling={self.settings.sampling} needs the subject of every picture, "
                f"{unknown:,} of {len(self.labels):,} training pictures have none: use another of "
                f"{others}"
            )

    @property
    def class_counts(self) -> np.ndarray:
        """Pictures of each class, int [K]."""
        return np.bincount(self.labels, minlength=len(self.class_names))

    @property
    def epoch(self) -> int:
        """Draws in an epoch."""
        if self.settings.sampling == "oversample":
            return len(self.class_names) * int(self.class_counts.max())
        return len(self.labels)

    def order(self, *, batch_size: int, seed: int) -> "Order | None":
        """Which picture is drawn when; None for every picture once an epoch, shuffled.

        Args:
            batch_size: of the global batch.
            seed: at least 0.
        """
        if self.settings.sampling == "none":
            return None
        return Order(self, batch_size, seed)

    def rates(self) -> np.ndarray:
        """How often each picture is drawn in an epoch, on the average of many; float [N]."""
        own = self.class_counts[self.labels]
        together = own.astype(float)  # draws of all pictures of the class
        if self.settings.sampling in OF_CLASSES:
            together[:] = self.epoch / len(self.class_names)
        if self.settings.sampling not in _OF_SUBJECTS:
            return together / own
        pairs = list(zip(self.labels.tolist(), self.subjects, strict=True))
        sizes = collections.Counter(pairs)
        subjects = np.bincount([label for label, _ in sizes])[self.labels]
        return together / subjects / np.array([sizes[pair] for pair in pairs])

    def effective_counts(self) -> dict[str, Any]:
        """Draws in an epoch, on the average of many.

        Returns:
            {"sampling", "epoch", "classes": {name: draws}, "subjects"}, where "subjects" is
            {"number", "least", "median", "most"} of those that are known, None if none is.
        """
        rates = self.rates()
        classes = np.bincount(self.labels, rates, len(self.class_names)).round(1).tolist()
        return {
            "sampling": self.settings.sampling,
            "epoch": self.epoch,
            "classes": dict(zip(self.class_names, classes, strict=True)),
            "subjects": self._per_subject(rates),
        }

    def _per_subject(self, rates: np.ndarray) -> dict[str, float] | None:
        names, places = np.unique(np.array(self.subjects), return_inverse=True)
        drawn = np.bincount(places, rates)[names != ""]
        if not len(drawn):
            return None
        least, median, most = np.quantile(drawn, (0, 0.5, 1)).round(1).tolist()
        return {"number": len(drawn), "least": least, "median": median, "most": most}

    def summary(self) -> str:
        """One line: `effective_counts` for people."""
        counts = self.effective_counts()
        classes = ", ".join(f"{name} {drawn:,.0f}" for name, drawn in counts["classes"].items())
        line = f"sampling {counts['sampling']}: {counts['epoch']:,} draws an epoch, {classes}"
        if subjects := counts["subjects"]:
            line += (
                f"; {subjects['number']} subjects with {subjects['least']:,.0f} to "
                f"{subjects['most']:,.0f}, median {subjects['median']:,.0f}"
            )
        return line


class Order:
    """`order[i]` is the picture of draw i, for every i from 0 on.

    Draws are laid out a block at a time, about an epoch; the latest blocks are kept. Threads may
    read it at the same time, and it pickles without its blocks.
    """

    def __init__(self, draws: Draws, batch_size: int, seed: int) -> None:
        self._arguments = draws, batch_size, seed
        self._kind, self._labels = draws.settings.sampling, draws.labels
        self._counts, self._batch_size = draws.class_counts, batch_size
        self._length = draws.epoch
        if self._kind in ("class", "class_and_subject"):
            self._length = -(-draws.epoch // batch_size) * batch_size
        subjects = np.array(draws.subjects) if self._kind in _OF_SUBJECTS else None
        keys = iter(decks.keys(seed, 1 + len(self._counts) + len(self._labels)))
        self._key = next(keys)
        self._classes = [
            _deck_of(np.flatnonzero(self._labels == label), subjects, keys)
            for label in range(len(self._counts))
        ]
        # Two threads may both come to a new block; they lay out the same.
        self._block = functools.lru_cache(maxsize=4)(self._lay_out)

    def __getitem__(self, draw: int) -> int:
        block, place = divmod(draw, self._length)
        return int(self._block(block)[place])

    def __reduce__(self) -> tuple:
        return Order, self._arguments

    def _lay_out(self, block: int) -> np.ndarray:
        generator = decks.generator(self._key, block)
        if self._kind == "oversample":
            return generator.permutation(self._repeated())
        first = block * self._length
        if self._kind == "subject":
            labels = self._labels[generator.permutation(self._length)]
            starts = block * self._counts
        else:
            # Classes take turns from batch to batch, and stand in a random order within each.
            turns = np.arange(first, first + self._length) % len(self._counts)
            labels = generator.permuted(turns.reshape(-1, self._batch_size), axis=1).ravel()
            starts = -(-(first - np.arange(len(self._counts))) // len(self._counts))
        drawn = np.empty(self._length, np.int64)
        for label, (deck, start) in enumerate(zip(self._classes, starts.tolist(), strict=True)):
            places = np.flatnonzero(labels == label)
            drawn[places] = deck.deal(start, start + len(places))
        return drawn

    def _repeated(self) -> np.ndarray:
        """All pictures, those of the smaller classes several times, the same in every epoch."""
        largest = int(self._counts.max())
        return np.concatenate([deck.deal(0, largest) for deck in self._classes])


def _deck_of(
    rows: np.ndarray, subjects: np.ndarray | None, keys: Iterator[int]
) -> decks.Deck | decks.Decks:
    """The pictures `rows`, dealt singly or by their subjects."""
    if subjects is None:
        return decks.Deck(rows, next(keys))
    owners = subjects[rows]
    own = [decks.Deck(rows[owners == subject], next(keys)) for subject in np.unique(owners)]
    return decks.Decks(own, next(keys))
