"""Tar archives, packed by gzip or not, read under a guard."""

import gzip
import pathlib
import tarfile
from collections.abc import Iterator
from typing import IO, cast

from jaxall import errors
from jaxall.data import containers

_LONGEST_READ = 16 * 2**20  # far above any header's; a header may say that it goes on for gigabytes


class Tar(containers.Archive):
    """A tar or tar.gz; listing it reads it to its end, gzip's checksum included."""

    def __init__(self, path: pathlib.Path, limits: containers.Limits) -> None:
        super().__init__(path)
        self._raw = path.open("rb")
        is_packed = not path.name.lower().endswith(".tar")
        unpacked = gzip.GzipFile(fileobj=self._raw) if is_packed else self._raw
        self._stream = _Guarded(path, self._raw, cast(IO[bytes], unpacked), limits)
        self._tar: tarfile.TarFile | None = None

    def close(self) -> None:
        """Lets go of the file."""
        self._stream.unpacked.close()
        self._raw.close()

    def entries(self, progress: containers.Progress) -> Iterator[containers.Entry]:
        """In the order of the archive."""
        self._stream.progress = progress
        with containers.damaged(self.path):
            self._tar = tarfile.TarFile(fileobj=cast(IO[bytes], self._stream))
            for info in self._tar:
                yield containers.Entry(
                    name=info.name,
                    size=info.size,
                    is_folder=info.isdir(),
                    problem=_problem(info),
                    crc=None,
                    handle=info,
                )
            self._stream.require_end()
        self._stream.progress = lambda done, total: None

    def chunks(self, entry: containers.Entry) -> Iterator[bytes]:
        """Cheap only in the order of the entries: a gzip can't be read backwards."""
        with containers.damaged(self.path, repr(entry.name)):
            file = self._tar.extractfile(entry.handle) if self._tar else None
            if file is None:
                raise ValueError("it has no content")
            with file:
                while chunk := file.read(containers.CHUNK):
                    yield chunk


def _problem(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return f"is a link to {info.linkname!r}"
    if info.issparse():
        return "is a sparse file"
    if not (info.isreg() or info.isdir()):
        return "is a device or a pipe"
    return "has a negative size" if info.size < 0 else ""


class _Guarded:
    """Unpacked bytes; refuses to hand out or to skip more than the limits allow."""

    def __init__(
        self, path: pathlib.Path, raw: IO[bytes], unpacked: IO[bytes], limits: containers.Limits
    ) -> None:
        self.unpacked = unpacked
        self.progress: containers.Progress = lambda done, total: None
        self._path, self._raw, self._limits = path, raw, limits
        self._size = path.stat().st_size
        self._last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_READ:
            raise errors.UserError(f"refused {self._path}: a header of {size:,} bytes")
        self._last = self.unpacked.read(size)
        self._check(self.tell())
        self.progress(self._raw.tell(), self._size)
        return self._last

    def seek(self, position: int) -> int:
        # In steps, so that a bomb is noticed before it has gone off.
        while self.tell() + _LONGEST_READ < position:
            self._check(self.unpacked.seek(self.tell() + _LONGEST_READ))
            self.progress(self._raw.tell(), self._size)
        return self._check(self.unpacked.seek(position))

    def tell(self) -> int:
        return self.unpacked.tell()

    def require_end(self) -> None:
        """Makes sure that the last header read is the end mark, and that only zeros follow.

        `tarfile` takes a header that is damaged or cut for the end.
        """
        is_end = len(self._last) == tarfile.BLOCKSIZE
        while is_end and self._last:
            is_end = not self._last.strip(b"\0")
            self.read(containers.CHUNK)
        if not is_end:
            raise ValueError("damaged or cut off before its end mark")

    def _check(self, position: int) -> int:
        """Hands the position back."""
        headers = self._limits.members * 4 * tarfile.BLOCKSIZE + 2**20  # and what fills up the end
        if position > self._limits.total + headers:
            raise errors.UserError(
                f"refused {self._path}: unpacks to more than {self._limits.total:,} bytes"
            )
        if self._limits.is_bomb(position, self._size):
            raise errors.UserError(
                f"refused {self._path}: unpacks to more than {self._limits.ratio} times its size"
            )
        return position
