"""Extracts what `archives.survey` found: whole files only, and none a second time."""

import dataclasses
import hashlib
import os
import pathlib
import shutil
import stat
import zlib
from collections.abc import Callable, Sequence

from jaxall import errors
from jaxall.data import archives, containers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extracted:
    """What an extraction did.

    Attributes:
        sha256: of each member's file, by its path.
        written: how many of them weren't there already.
    """

    sha256: dict[str, str]
    written: int


def extract(
    container: containers.Container,
    contents: archives.Contents,
    folder: pathlib.Path,
    progress: containers.Progress = lambda done, total: None,
) -> Extracted:
    """Writes the members below a folder, each whole or not at all.

    A file that is there with the right size and, from a zip, the right CRC-32 isn't written again.

    Args:
        container: it.
        contents: as `survey` found them.
        folder: may exist already; while a file is written, it lies beside it.
        progress: told the bytes done and the bytes of all members.

    Raises:
        UserError: a member is damaged or isn't as large as said, or the disk is too small.
        OSError: the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _require_space(container, contents.members, folder)
    partial = folder.with_name(f".{folder.name}.part")
    done = written = 0
    total = contents.size
    sha256: dict[str, str] = {}
    for path in contents.folders:
        (folder / path).mkdir(parents=True, exist_ok=True)
    try:
        for member in contents.members:
            target = folder / member.path
            digest = _sha256_if_whole(target, member.entry)
            if digest is None:
                target.parent.mkdir(parents=True, exist_ok=True)
                partial.unlink(missing_ok=True)
                digest = _fill(
                    container,
                    member.entry,
                    partial,
                    lambda size, before=done: progress(before + size, total),
                )
                partial.replace(target)
                written += 1
            sha256[member.path] = digest
            done += member.entry.size
            progress(done, total)
    finally:
        partial.unlink(missing_ok=True)
    return Extracted(sha256=sha256, written=written)


def _require_space(
    container: containers.Container, members: Sequence[archives.Member], folder: pathlib.Path
) -> None:
    if container.size is None and container.path.stat().st_dev == folder.stat().st_dev:
        return  # linked
    wanted = sum(
        member.entry.size
        for member in members
        if _size_of(folder / member.path) != member.entry.size
    )
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise errors.UserError(
            f"wanted {wanted / 2**30:,.2f} GiB for the files of {container.path} in "
            f"{folder.parent}, there is {free / 2**30:,.2f} GiB"
        )


def _size_of(path: pathlib.Path) -> int | None:
    """Of a regular file; None of anything else, or of nothing."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _sha256_if_whole(path: pathlib.Path, entry: containers.Entry) -> str | None:
    """Of the file at a path if it is the entry's, as far as its container can tell."""
    if _size_of(path) != entry.size:
        return None
    digest, crc = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(containers.CHUNK):
            digest.update(chunk)
            crc = zlib.crc32(chunk, crc)
    return digest.hexdigest() if entry.crc in (None, crc) else None


def _fill(
    container: containers.Container,
    entry: containers.Entry,
    target: pathlib.Path,
    report: Callable[[int], None],
) -> str:
    """Links or copies an entry; returns its sha256."""
    if container.link(entry, target):
        return containers.sha256_of(target)
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        for chunk in container.chunks(entry):
            size += len(chunk)
            if size > entry.size:
                break
            digest.update(chunk)
            file.write(chunk)
            report(size)
        if size != entry.size:
            more = "more" if size > entry.size else "fewer"
            raise errors.UserError(
                f"{entry.name!r} in {container.path} is damaged: {more} than the {entry.size:,} "
                "bytes that it should have"
            )
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
