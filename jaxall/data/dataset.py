"""A data set: a table of rows and the pictures that they name."""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Collection

import numpy as np

from jaxall import errors
from jaxall.data import decoding

ON_BAD_IMAGE = ("stop", "quarantine")


@dataclasses.dataclass(kw_only=True)
class DataSettings:
    """Which data set, where it lies, and what becomes of pictures that can't be read.

    Attributes:
        name: of a data set that `jaxall.data` knows.
        root: its folder; of a table of one's own the CSV file, or its folder.
        on_bad_image: "stop" refuses the data set, "quarantine" leaves such pictures out and lists
            them in the run's folder.
        most_bad: share of the pictures above which "quarantine" stops as well.
        positive: of two classes the one that sensitivity is of; "" for the last by name.
    """

    name: str = "b_all"
    root: str = "data/b_all"
    on_bad_image: str = "stop"
    most_bad: float = 0.01
    positive: str = ""

    def validate(self) -> None:
        """Raises UserError naming every impossible field, what it may be, and what came."""
        problems = []
        if self.on_bad_image not in ON_BAD_IMAGE:
            problems.append(
                f"data.on_bad_image is one of {', '.join(ON_BAD_IMAGE)}; got {self.on_bad_image!r}"
            )
        if not 0 <= self.most_bad < 1:
            problems.append(f"data.most_bad is at least 0 and below 1; got {self.most_bad:g}")
        errors.refuse(problems)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One picture.

    Attributes:
        path: relative to the data set's root, with forward slashes.
        label: index into the data set's class names; -1 where it was never published.
        subject: the patient, "" where unknown.
        number: the acquisition number in the file name; it orders the block split.
        group: what else belongs on one side of a split (a slide, a session), "" if nothing does.
        fold: of the data set's own cross-validation, "" if it has none or the row is in none.
        side: of the data set's own split, "" if it has none.
    """

    path: str
    label: int
    subject: str = ""
    number: int = 0
    group: str = ""
    fold: str = ""
    side: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSet:
    """A table of labelled rows.

    Attributes:
        unlabelled: pictures that come with the data set and can only be predicted.
        reader: given a row's path, the bytes of its picture; None for a file below the root. Must
            pickle.
        citation: whom to thank.
        caveat: a line printed beside every score made from it.
        note: a line to warn with when it is read, "" if there is nothing to warn about.
    """

    name: str
    root: pathlib.Path
    class_names: tuple[str, ...]
    rows: tuple[Row, ...]
    unlabelled: tuple[Row, ...] = ()
    reader: Callable[[str], bytes] | None = None
    citation: str = ""
    caveat: str = ""
    note: str = ""

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """int32 [len(rows)]."""
        return np.array([row.label for row in self.rows], dtype=np.int32)

    @property
    def class_counts(self) -> dict[str, int]:
        """Pictures of each class, in the order of the class names."""
        counts = collections.Counter(row.label for row in self.rows)
        return {name: counts[label] for label, name in enumerate(self.class_names)}

    def absolute(self, row: Row) -> pathlib.Path:
        """Where the row's picture lies."""
        return self.root / row.path

    def read(self, row: Row) -> bytes:
        """The bytes of the row's picture file.

        Raises:
            OSError: it can't be read.
            UndecodableError: it is a pipe or a device.
        """
        return self.reader(row.path) if self.reader else decoding.read(self.absolute(row))

    def without(self, paths: Collection[str]) -> "DataSet":
        """The table without the rows of these paths, labelled or not."""
        rows, unlabelled = (
            tuple(row for row in table if row.path not in paths)
            for table in (self.rows, self.unlabelled)
        )
        return dataclasses.replace(self, rows=rows, unlabelled=unlabelled)


def with_positive(data_set: DataSet, positive: str) -> DataSet:
    """The same with `positive` for the last of its two classes, where scores look for it.

    Raises:
        UserError: there is no such class, or there are more than two.
    """
    names = data_set.class_names
    if len(names) != 2 or positive not in names:
        raise errors.UserError(
            f"data.positive is one of two classes; got {positive!r}, there are {', '.join(names)}"
        )
    if positive == names[1]:
        return data_set
    rows = tuple(dataclasses.replace(row, label=1 - row.label) for row in data_set.rows)
    return dataclasses.replace(data_set, class_names=names[::-1], rows=rows)


def require_every_class(data_set: DataSet) -> DataSet:
    """Hands the data set back if each of its classes has a picture.

    Raises:
        UserError: names the classes without one.
    """
    counts = data_set.class_counts
    empty = [name for name, count in counts.items() if count == 0]
    if len(empty) == len(counts):
        kinds = ", ".join(decoding.IMAGE_SUFFIXES)
        raise errors.UserError(f"no pictures ({kinds}) under {data_set.root}")
    if empty:
        found = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise errors.UserError(
            f"no picture of class {', '.join(empty)} under {data_set.root} (found: {found})"
        )
    return data_set
