"""The folder of a prepared data set: how it comes to be, and whether it still is what it was.

pictures/        as in the archive         manifest.csv   what is known of every picture
quarantine.csv   pictures that are left out, and why, if there are any
audit.json       copies, giveaways and outliers among the labelled pictures
files.sha256     of all of these, for `sha256sum --check`
prepared.json    what it was made from and how; written last of all

Until then it lies in a hidden folder beside the place where it will appear.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from jaxall import errors, files
from jaxall.data import checksums, containers

PICTURES, MANIFEST = "pictures", "manifest.csv"
SUMS, RECORD = "files.sha256", "prepared.json"
_SOURCE, _UNFINISHED = "source.sha256", "data"  # in the hidden folder


def is_there(target: pathlib.Path) -> bool:
    """Whether a prepared data set lies at `target`.

    Raises:
        UserError: something else does.
    """
    if (target / RECORD).is_file():
        return True
    if os.path.ismount(target):  # a finished folder can't be given its name
        raise errors.UserError(f"{target} is a mount point: wanted a folder below it for --out")
    if target.is_dir() and not any(target.iterdir()):
        return False
    if os.path.lexists(target):
        raise errors.UserError(f"{target} holds no prepared data set: choose another --out")
    return False


def workplace(target: pathlib.Path) -> pathlib.Path:
    """The hidden folder in which `target` comes to be."""
    return target.with_name(f".{target.name}.preparing")


@contextlib.contextmanager
def staged(target: pathlib.Path, source: str) -> Iterator[pathlib.Path]:
    """Yields the unfinished folder, with what was done for the same source before.

    Keeps a second process out as long as the block runs; the lock dies with its process. What was
    begun for another source is thrown away.

    Args:
        target: where the folder is to appear.
        source: sha256 of what it is made from.

    Raises:
        UserError: another process holds it, or the place can't be written.
    """
    work = workplace(target)
    folder, mark = work / _UNFINISHED, work / _SOURCE
    with _locked(work, target):
        try:
            if is_there(target):
                raise errors.UserError(f"another process has just prepared {target}")
            if not mark.is_file() or files.read_text(mark) != source:
                shutil.rmtree(folder, ignore_errors=True)
                files.write(mark, source)
            folder.mkdir(exist_ok=True)
            for path in folder.iterdir():
                if path.is_file():  # all but pictures is soon made again, and may be half-written
                    path.unlink()
            yield folder
        finally:
            if not any(folder.glob("*/*")):  # finished, or nothing was begun
                shutil.rmtree(work)


def finish(
    folder: pathlib.Path,
    target: pathlib.Path,
    pictures: Mapping[str, str],
    record: Mapping[str, Any],
) -> None:
    """Writes the checksums and the record, and gives the folder its name.

    Args:
        folder: from `staged`.
        target: its name.
        pictures: sha256 of each file below `PICTURES`, by its path there.
        record: what is to be known of it.

    Raises:
        OSError: the disk is full, or there is something at `target` by now.
    """
    sums = {f"{PICTURES}/{path}": digest for path, digest in pictures.items()}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in (SUMS, RECORD):
            sums[path.name] = containers.sha256_of(path)
    checksums.save({path: sums[path] for path in sorted(sums)}, folder / SUMS)
    digest = containers.sha256_of(folder / SUMS)
    text = json.dumps({**record, "files_sha256": digest}, indent=2) + "\n"
    files.write(folder / RECORD, text)
    folder.replace(target)


def load(target: pathlib.Path) -> dict[str, Any]:
    """The record.

    Raises:
        UserError: it can't be read.
    """
    try:
        record = json.loads(files.read_text(target / RECORD))
        return {**record}
    except (OSError, TypeError, ValueError) as error:
        raise errors.UserError(f"{target / RECORD} is damaged: {error}") from error


def verify(
    target: pathlib.Path,
    asked: Mapping[str, Any],
    progress: containers.Progress = lambda done, total: None,
) -> int:
    """Makes sure that a finished folder is what is asked for, and as it was made.

    Args:
        target: the folder.
        asked: what its record must say.
        progress: told the bytes done and the bytes of all files.

    Returns:
        How many files it has, without the record and the checksums.

    Raises:
        UserError: it isn't; its details name all files that were changed.
    """
    record = load(target)
    other = [
        f"{name} was {record.get(name)}, now {value}"
        for name, value in asked.items()
        if record.get(name) != value
    ]
    if other:
        raise errors.UserError(
            f"{target} was prepared otherwise ({'; '.join(other)}); "
            "choose another --out, or delete it"
        )
    sums = _load_sums(target, record)
    changed = _changes(target, sums, progress)
    if changed:
        raise errors.UserError(
            f"{target} was prepared already, but {len(changed):,} of its files aren't as they were "
            f"({changed[0]}); delete the folder to prepare it anew",
            changed,
        )
    return len(sums)


def require_untouched(root: pathlib.Path, sha256: Mapping[str, str]) -> None:
    """Makes sure that pictures are as they were prepared, if they lie in a prepared folder.

    Its files may share their bytes with the source's, where they can be edited unseen.

    Args:
        root: of a data set, in the folder or anywhere else.
        sha256: of each picture's file, by its path below the root.

    Raises:
        UserError: some are not; its details name them. Or the folder's lists are damaged.
    """
    root = pathlib.Path(os.path.realpath(root))
    target = next((path for path in (root, *root.parents) if (path / RECORD).is_file()), None)
    if target is None:
        return
    sums = _load_sums(target, load(target))
    below = root.relative_to(target)
    other = [path for path, digest in sha256.items() if sums.get(str(below / path)) != digest]
    if other:
        raise errors.UserError(
            f"{len(other):,} of {len(sha256):,} pictures in {target} aren't the files that were "
            f"prepared, the first: {other[0]}; delete the folder and prepare it anew",
            other,
        )


def _load_sums(target: pathlib.Path, record: Mapping[str, Any]) -> dict[str, str]:
    """sha256 by path below the folder."""
    try:
        digest = containers.sha256_of(target / SUMS)
        sums = checksums.load(target / SUMS)
    except OSError as error:
        raise errors.UserError(f"can't read {target / SUMS}: {error.strerror}") from error
    if digest != record.get("files_sha256"):
        raise errors.UserError(
            f"{target / SUMS} isn't the one that {target / RECORD} was made with"
        )
    return sums


def _changes(
    target: pathlib.Path, sums: Mapping[str, str], progress: containers.Progress
) -> list[str]:
    """What has become of the files that aren't as they were."""
    total = sum((target / path).stat().st_size for path in sums if (target / path).is_file())
    done = 0
    changed = []
    for path, digest in sums.items():
        try:
            if containers.sha256_of(target / path) != digest:
                changed.append(f"{path}: another file")
            done += (target / path).stat().st_size
        except OSError as error:
            changed.append(f"{path}: {(error.strerror or str(error)).lower()}")
        progress(done, total)
    for parent, _, names in os.walk(target / PICTURES):
        for name in sorted(names):
            path = pathlib.Path(parent, name).relative_to(target).as_posix()
            if path not in sums:
                changed.append(f"{path}: wasn't there")
    return changed


@contextlib.contextmanager
def _locked(work: pathlib.Path, target: pathlib.Path) -> Iterator[None]:
    taken = errors.UserError(f"another process is preparing {target}")
    try:
        work.mkdir(parents=True, exist_ok=True)
        file = (work / ".lock").open("w")
    except OSError as error:
        raise errors.UserError(f"can't write to {work.parent}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One that has finished meanwhile took the file away.
            is_current = os.path.samestat(os.fstat(file.fileno()), (work / ".lock").stat())
        except OSError as error:
            raise taken from error
        if not is_current:
            raise taken
        yield
