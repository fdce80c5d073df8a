"""What lies in a zip, a tar or a folder as it was downloaded; none of it is trusted.

Each of the three lists its entries, with what is wrong with them, and hands out their bytes. Names
are as the container has them: `archives` judges those.
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from jaxall import errors
from jaxall.data import decoding

CHUNK = 2**20
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")

Progress = Callable[[int, int], None]  # bytes so far, bytes in all


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Above these an archive is taken for an attack, or for an accident.

    Attributes:
        members: how many it may have.
        total: bytes that they may unpack to.
        ratio: how many times as large as packed a member may be, and all of them together.
        small: bytes up to which the ratio doesn't matter: blank pictures are packed very small.
    """

    members: int = 200_000
    total: int = 64 * 2**30
    ratio: int = 200
    small: int = 2**20

    def is_bomb(self, size: int, packed: int) -> bool:
        """Whether so many bytes from so few are suspicious."""
        return size > self.small and size > self.ratio * packed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing in a container.

    Attributes:
        name: as the container has it.
        size: in bytes, as the container says; it may lie.
        is_folder: it has no content of its own.
        problem: why it mustn't be extracted, "" if nothing is wrong so far.
        crc: CRC-32 of its content, None where the container keeps none.
        handle: what its container finds it by.
    """

    name: str
    size: int
    is_folder: bool
    problem: str
    crc: int | None
    handle: Any


class Container(Protocol):
    """What the zip, the tar and the folder have in common.

    Attributes:
        path: where it lies.
        size: of the archive, in bytes; None for a folder.
    """

    path: pathlib.Path
    size: int | None

    def entries(self, progress: Progress) -> Iterator[Entry]:
        """Everything in it; stops at the first sign that it won't end."""
        ...

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """An entry's content; cheapest in the order of the entries."""
        ...

    def link(self, entry: Entry, target: pathlib.Path) -> bool:
        """Gives an entry's file a second name, `target`, if that can be done."""
        ...

    def sha256(self, entries: Sequence[Entry], progress: Progress) -> str:
        """By which it is known again: of an archive its bytes, of a folder names and contents."""
        ...


@contextlib.contextmanager
def damaged(path: pathlib.Path, what: str = "") -> Iterator[None]:
    """Turns all that a reader of hostile bytes may raise into one line.

    Raises:
        UserError: names the container, what was read, and what is wrong.
    """
    try:
        yield
    except errors.UserError:
        raise
    # They raise nearly anything: OSError, EOFError, zlib.error, struct.error, RuntimeError
    except Exception as error:
        reason = " ".join(errors.reason(error).split())
        place = f"{what} in {path}" if what else str(path)
        raise errors.UserError(f"can't read {place}: {reason or type(error).__name__}") from error


def sha256_of(path: pathlib.Path, progress: Progress = lambda done, total: None) -> str:
    """A file's sha256 in hexadecimal digits."""
    digest = hashlib.sha256()
    total = path.stat().st_size
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(done, total)
    return digest.hexdigest()


class Archive:
    """What the zip and the tar have in common: one file."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.size: int | None = path.stat().st_size

    def link(self, entry: Entry, target: pathlib.Path) -> bool:
        """Never: the content lies packed."""
        return False

    def sha256(self, entries: Sequence[Entry], progress: Progress) -> str:
        """Of the archive's own bytes."""
        return sha256_of(self.path, progress)


class Folder:
    """A folder; its files are linked rather than copied where the file system can."""

    size: int | None = None

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._root = path.resolve()

    def entries(self, progress: Progress) -> Iterator[Entry]:
        """Its files, by name; hidden ones are passed over."""
        for parent, folders, names in decoding.walk(self._root):
            for name in [*folders, *names]:
                yield self._entry(pathlib.Path(parent, name))

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """The file's."""
        with damaged(self.path, repr(entry.name)), open(entry.handle, "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def link(self, entry: Entry, target: pathlib.Path) -> bool:
        """A hard link, unless the file system has none or the target lies on another."""
        try:
            os.link(entry.handle, target)
        except OSError:
            return False
        return True

    def sha256(self, entries: Sequence[Entry], progress: Progress) -> str:
        """Of the lines that `sha256sum` would print for the entries, by name."""
        total = sum(entry.size for entry in entries)
        done = 0
        lines = []
        for entry in entries:
            with damaged(self.path, repr(entry.name)):
                lines.append(f"{sha256_of(pathlib.Path(entry.handle))}  {entry.name}\n")
            done += entry.size
            progress(done, total)
        return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()

    def _entry(self, path: pathlib.Path) -> Entry:
        name = path.relative_to(self._root).as_posix()
        real = pathlib.Path(os.path.realpath(path))
        problem = ""
        size = 0
        if not real.is_relative_to(self._root):
            problem = "is a link that leaves the folder"
        elif not real.exists():
            problem = "is a link to nothing"
        elif any(decoding.is_clutter(part) for part in real.relative_to(self._root).parts):
            problem = "is a link into a hidden folder"
        elif not real.is_dir():
            kind = real.stat()
            size = kind.st_size
            problem = "" if stat.S_ISREG(kind.st_mode) else "is a device or a pipe"
        # A link to a folder inside is passed over as one: what lies there has its own name.
        return Entry(
            name=name,
            size=size,
            is_folder=real.is_dir(),
            problem=problem,
            crc=None,
            handle=real,
        )
