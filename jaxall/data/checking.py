"""One pass over all pictures of a data set: which can be read, and what is known of each."""

import concurrent.futures
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from jaxall import errors
from jaxall.data import checksums, decoding, looking
from jaxall.data.dataset import DataSet, Row


class UnreadablePicturesError(errors.UserError):
    """Pictures of a data set that can't be used; `details` names each, one line a picture."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
    """What one pass over all pictures found.

    Attributes:
        looked: of each picture that can be read, in the order of the rows without the others.
        quarantined: path -> what is wrong with it, of those that can't.
    """

    looked: tuple[looking.Looked, ...]
    quarantined: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def pixels(self) -> tuple[str, ...]:
        """Each picture's digest."""
        return tuple(one.pixels for one in self.looked)

    def sha256(self, data_set: DataSet) -> dict[str, str]:
        """Each file's, by its row's path; of the table without what can't be read."""
        pairs = zip(data_set.rows, self.looked, strict=True)
        return {row.path: one.sha256 for row, one in pairs}

    @property
    def thumbnails(self) -> np.ndarray:
        """uint8 [N,16,16,3]."""
        return self._stacked("thumbnail", looking.THUMBNAIL)

    @property
    def frames(self) -> np.ndarray:
        """uint8 [N,448,3]."""
        return self._stacked("frame", looking.FRAME)

    @property
    def corners(self) -> np.ndarray:
        """uint8 [N,4,8,8,3]."""
        return self._stacked("corners", looking.CORNERS)

    @property
    def contents(self) -> np.ndarray:
        """uint8 [N,16,16,3]."""
        return self._stacked("content", looking.THUMBNAIL)

    def _stacked(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        arrays = [getattr(one, name) for one in self.looked]
        return np.array(arrays, np.uint8).reshape(len(arrays), *shape)


def check(
    data_set: DataSet,
    *,
    most_bad: float | None = None,
    threads: int = 4,
    progress: Callable[[int], None] | None = None,
) -> Checked:
    """Reads and decodes every picture once.

    Args:
        data_set: the table.
        most_bad: share of pictures that may be unreadable; None for none at all.
        threads: how many pictures are read at a time.
        progress: told how many are done after each picture, from the calling thread.

    Raises:
        UnreadablePicturesError: too many are missing, unreadable or undecodable; names them all.
    """
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    seen: list[looking.Looked] = []
    bad: dict[str, str] = {}
    try:
        looked = pool.map(lambda row: _look_at(data_set, row), data_set.rows)
        for done, (row, result) in enumerate(zip(data_set.rows, looked, strict=True), start=1):
            if isinstance(result, str):
                bad[row.path] = result
            else:
                seen.append(result)
            if progress is not None:
                progress(done)
    finally:
        pool.shutdown(cancel_futures=True)
    if bad and (most_bad is None or len(bad) > most_bad * len(data_set.rows)):
        raise _unreadable(data_set, bad, most_bad)
    return Checked(looked=tuple(seen), quarantined=bad)


def require_same_files(
    data_set: DataSet, rows: Sequence[int], path: pathlib.Path, threads: int = 4
) -> None:
    """Makes sure that files are those whose sha256 was saved.

    Args:
        data_set: the table.
        rows: positions of the rows that matter.
        path: a list of checksums.
        threads: how many files are read at a time.

    Raises:
        UserError: some are not; its details name them.
    """
    known = checksums.load(path)

    def is_other(row: Row) -> bool:
        try:
            data = data_set.read(row)
        except decoding.UndecodableError:  # no file any more, but a pipe or a device
            return True
        return hashlib.sha256(data).hexdigest() != known.get(row.path)

    chosen = [data_set.rows[index] for index in rows]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        found = pool.map(is_other, chosen)
        other = [row.path for row, is_wrong in zip(chosen, found, strict=True) if is_wrong]
    if other:
        raise errors.UserError(
            f"{len(other)} of {len(rows)} pictures under {data_set.root} are not the files that "
            f"the run was split on ({path}), the first: {other[0]}",
            other,
        )


def _look_at(data_set: DataSet, row: Row) -> looking.Looked | str:
    """What is known of a row's picture, or why it can't be read."""
    if "\n" in row.path:  # lists of files have a line for each
        return "a line break in its name"
    try:
        return looking.look_at(data_set.read(row))
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    except decoding.UndecodableError as error:
        return str(error)


def _unreadable(
    data_set: DataSet, bad: dict[str, str], most_bad: float | None
) -> UnreadablePicturesError:
    lines = [f"{path}: {reason}" for path, reason in bad.items()]
    first = errors.some(lines, "; ")
    count = f"{len(lines):,} of {len(data_set.rows):,} pictures under {data_set.root}"
    limit = "" if most_bad is None else f"; data.most_bad allows {most_bad:g} of them"
    return UnreadablePicturesError(
        f"can't read {count}, nothing was trained ({first}){limit}", lines
    )
