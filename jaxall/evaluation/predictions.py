"""What a model said of each picture, kept as a table that people and programs can read."""

import csv
import dataclasses
import io
import os
from collections.abc import Sequence

import numpy as np

from jaxall import errors, files
from jaxall.evaluation import metrics

SUM_TOLERANCE = 1e-4  # float32 softmax over a thousand classes stays well within
FIXED_COLUMNS = ["path", "subject", "label", "predicted"]
WITHOUT_SUBJECT = ["path", "label", "predicted"]  # tables that know of no subjects


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Labels and class probabilities of N pictures and K classes; arrays are copied and read-only.

    Names may repeat. Probabilities are kept as they came (as float64), never renormalised.

    Raises:
        ValueError: shapes don't agree, a label is outside -1..K-1, or a row is no distribution;
            all that is wrong is said at once.
    """

    names: tuple[str, ...]  # path of each picture
    labels: np.ndarray  # int64 [N], -1 where unknown
    probabilities: np.ndarray  # float64 [N,K], rows sum to 1
    class_names: tuple[str, ...]
    subjects: tuple[str, ...] = ()  # the patient of each picture, "" where unknown; () for all

    def __post_init__(self) -> None:
        subjects = tuple(self.subjects) or ("",) * len(self.names)
        problems = _problems(self.names, self.labels, self.probabilities, self.class_names)
        if len(subjects) != len(self.names):
            problems.append(f"wanted {len(self.names)} subjects or none, got {len(subjects)}")
        if problems:
            raise ValueError("; ".join(problems))
        for name, dtype in (("labels", np.int64), ("probabilities", np.float64)):
            array = np.array(getattr(self, name), dtype)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "subjects", subjects)

    @property
    def predicted(self) -> np.ndarray:
        """The likeliest class of each picture, int64 [N]; the first of equals."""
        return self.probabilities.argmax(1)

    def confusion(self) -> np.ndarray:
        """Counts of (true, predicted) pairs, int64 [K,K]; unlabelled pictures are left out."""
        return metrics.confusion(self.labels, self.predicted, len(self.class_names))

    def save_csv(self, path: str | os.PathLike[str]) -> None:
        """Write columns path, subject, label, predicted, p_<class>...; whole or not at all.

        Label and prediction are class names; subject and label are empty where unknown.
        Probabilities have as many digits as it takes to read back the same number. Paths are
        written as they are, even where one begins with = + - or @: they must still open the
        picture. A spreadsheet may take such a path for a formula, so import the column as text if
        the names aren't your own.
        """
        buffer = io.StringIO(newline="")
        # Lines end in CR LF: with another end, Python 3.11 leaves a lone CR in a name unquoted.
        writer = csv.writer(buffer)
        writer.writerow(FIXED_COLUMNS + [f"p_{name}" for name in self.class_names])
        word = dict(enumerate(self.class_names)) | {-1: ""}
        labels = ([word[label] for label in column] for column in (self.labels, self.predicted))
        columns = (self.names, self.subjects, *labels, self.probabilities.tolist())
        for *cells, row in zip(*columns, strict=True):
            writer.writerow([*cells, *map(repr, row)])
        # surrogateescape: Python's own spelling of file names that aren't UTF-8.
        files.write(path, buffer.getvalue())


def concatenate(tables: Sequence[Predictions]) -> Predictions:
    """One table after the other.

    Raises:
        ValueError: there are none, or their class names differ.
    """
    class_names = {table.class_names for table in tables}
    if len(class_names) != 1:
        raise ValueError(f"wanted tables of the same classes, got {sorted(class_names)}")
    return Predictions(
        names=tuple(name for table in tables for name in table.names),
        labels=np.concatenate([table.labels for table in tables]),
        probabilities=np.concatenate([table.probabilities for table in tables]),
        class_names=class_names.pop(),
        subjects=tuple(subject for table in tables for subject in table.subjects),
    )


def load_csv(path: str | os.PathLike[str]) -> Predictions:
    """Read what `Predictions.save_csv` wrote, bit for bit; a byte order mark is passed over.

    The column "subject" may be missing.

    Raises:
        errors.UserError: the file can't be read, or a cell of it makes no sense.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = [row for row in csv.reader(file, strict=True) if row]
    except (OSError, csv.Error) as error:
        raise errors.UserError(f"predictions in {path} can't be read: {error}") from error
    try:
        return _parse(lines)
    except ValueError as error:
        raise errors.UserError(f"predictions in {path}: {error}") from error


def _parse(lines: list[list[str]]) -> Predictions:
    header = lines[0] if lines else []
    fixed = FIXED_COLUMNS if header[1:2] == ["subject"] else WITHOUT_SUBJECT
    columns = header[len(fixed) :]
    if header[: len(fixed)] != fixed or not all(column.startswith("p_") for column in columns):
        wanted = ", ".join(FIXED_COLUMNS)
        raise ValueError(f"wanted columns {wanted}, p_<class>... (subject or not), found {header}")
    class_names = tuple(column.removeprefix("p_") for column in columns)
    pictures = []
    for number, cells in enumerate(lines[1:], start=1):
        try:
            pictures.append(_parse_picture(cells, fixed, class_names))
        except ValueError as error:
            raise ValueError(f"picture {number} ({cells[0]}): {error}") from error
    return Predictions(
        names=tuple(name for name, *_ in pictures),
        subjects=tuple(subject for _, subject, *_ in pictures),
        labels=np.array([label for *_, label, _ in pictures], np.int64),
        probabilities=np.array([row for *_, row in pictures]).reshape(-1, len(class_names)),
        class_names=class_names,
    )


def _parse_picture(
    cells: list[str], fixed: list[str], class_names: tuple[str, ...]
) -> tuple[str, str, int, list[float]]:
    """Name, subject, label and probabilities of one line."""
    wanted = len(fixed) + len(class_names)
    if len(cells) != wanted:
        raise ValueError(f"wanted {wanted} cells, found {len(cells)}")
    name, *subject, label, predicted = cells[: len(fixed)]
    if label not in ("", *class_names) or predicted not in class_names:
        raise ValueError(f"wanted classes of {class_names}, found {label!r} and {predicted!r}")
    row = [float(number) for number in cells[len(fixed) :]]
    if row[class_names.index(predicted)] != max(row):
        raise ValueError(f"predicted is {predicted!r}, but the probabilities are {row}")
    return name, "".join(subject), class_names.index(label) if label else -1, row


def _problems(
    names: tuple[str, ...],
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: tuple[str, ...],
) -> list[str]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    n, k = len(names), len(class_names)
    problems = []
    if k < 2 or len(set(class_names)) != k or "" in class_names:
        problems.append(f"wanted two or more different class names, got {class_names}")
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        problems.append(f"wanted whole-number labels [{n}], got {labels.dtype} {labels.shape}")
    elif n and (labels.min() < -1 or labels.max() >= k):
        span = f"{labels.min()}..{labels.max()}"
        problems.append(f"wanted labels in -1..{k - 1} for {k} classes, got {span}")
    if probabilities.shape != (n, k) or not np.issubdtype(probabilities.dtype, np.floating):
        came = f"{probabilities.dtype} {probabilities.shape}"
        problems.append(f"wanted floating-point probabilities [{n},{k}], got {came}")
        return problems
    inside = np.all((probabilities >= 0) & (probabilities <= 1), axis=1)  # False for NaN too
    sums = np.where(inside, probabilities.sum(1, dtype=np.float64, where=inside[:, None]), np.nan)
    bad = np.flatnonzero(~(np.abs(sums - 1) <= SUM_TOLERANCE))
    if bad.size:
        first = bad[0]
        problems.append(
            f"{bad.size} of {n} rows aren't probabilities in 0..1 with sum 1 (to {SUM_TOLERANCE}), "
            f"first {names[first]}: {probabilities[first].tolist()}"
        )
    return problems
