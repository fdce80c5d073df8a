"""What is taken from a download; anything unsafe in it is found before a byte is written."""

import contextlib
import dataclasses
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Sequence

from jaxall import errors
from jaxall.data import containers, decoding, spelling, tars, zips

TABLES_AND_TEXTS = (".csv", ".txt", ".md")
TEXTS = ("readme", "licence", "license")  # whole names, without a suffix
_NO_TEXT = ("Cc", "Zl", "Zp")  # Unicode's control characters, line and paragraph separators
LONGEST_PART, LONGEST_NAME = 255, 1024  # bytes; the first is what file systems take

Limits = containers.Limits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One file to be extracted.

    Attributes:
        path: relative to the folder that it is extracted to, with forward slashes.
        entry: what its container says of it.
    """

    path: str
    entry: containers.Entry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contents:
    """What is taken from a container.

    Attributes:
        members: pictures, tables and texts, in the order of the container.
        folders: paths of all folders; one without a member may be a class without a picture.
        others: names of the files that are left out, without hidden ones.
    """

    members: tuple[Member, ...]
    folders: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all members."""
        return sum(member.entry.size for member in self.members)

    @property
    def entries(self) -> list[containers.Entry]:
        """Of the members."""
        return [member.entry for member in self.members]


@contextlib.contextmanager
def opened(path: pathlib.Path, limits: Limits) -> Iterator[containers.Container]:
    """The zip, tar or folder at a path, for as long as the block runs.

    Raises:
        UserError: nothing there, neither of these, or it can't be read.
    """
    if path.is_dir():
        yield containers.Folder(path)
        return
    if not path.is_file():
        raise errors.UserError(f"there is no archive and no folder {path}")
    if not path.name.lower().endswith(containers.SUFFIXES):
        raise errors.UserError(f"wanted a folder or {', '.join(containers.SUFFIXES)}, got {path}")
    kind = zips.Zip if path.name.lower().endswith(".zip") else tars.Tar
    with containers.damaged(path):
        container = kind(path, limits)
    with contextlib.closing(container):
        yield container


def survey(
    container: containers.Container,
    limits: Limits,
    progress: containers.Progress = lambda done, total: None,
) -> Contents:
    """Lists what is to be extracted, and makes sure that all of the container may be.

    Raises:
        UserError: it has too many or too large members, members that are unsafe (its details name
            them all), or no picture.
    """
    members: list[Member] = []
    folders: list[str] = []
    others: list[str] = []
    problems: list[str] = []
    count = total = 0
    for entry in container.entries(progress):
        count += 1
        total += max(entry.size, 0)
        _require_within(container, limits, count, total)
        problem = unsafe(entry.name) or entry.problem
        parts = [part for part in entry.name.split("/") if part not in ("", ".")]
        if not parts and not entry.is_folder:
            problem = problem or "has no name"
        if problem:
            problems.append(f"{entry.name!r} {problem}")
        elif any(map(decoding.is_clutter, parts)):
            continue
        elif entry.is_folder:
            folders += ["/".join(parts)] if parts else []
        elif _is_wanted(parts[-1]):
            members.append(Member(path="/".join(parts), entry=entry))
        else:
            others.append("/".join(parts))
    problems += _collisions(members, folders)
    if problems:
        raise errors.UserError(
            f"refused {container.path}: {len(problems):,} of {count:,} members are unsafe, nothing "
            f"was written; the first: {problems[0]}",
            problems,
        )
    # A tar's stream has noticed by itself; a zip's members may each be innocent.
    if container.size is not None and limits.is_bomb(total, container.size):
        raise errors.UserError(
            f"refused {container.path}: unpacks to more than {limits.ratio} times its size"
        )
    if not any(member.path.lower().endswith(decoding.IMAGE_SUFFIXES) for member in members):
        kinds = ", ".join(decoding.IMAGE_SUFFIXES)
        raise errors.UserError(f"no pictures ({kinds}) in {container.path}")
    return Contents(members=tuple(members), folders=tuple(folders), others=tuple(others))


def unsafe(name: str) -> str:
    """Why a member's name mustn't become a file's, "" if it may."""
    encoded = name.encode("utf-8", "surrogateescape")
    if any(unicodedata.category(character) in _NO_TEXT for character in name):
        return "has a control character in its name"
    if "\\" in name:
        return "has a backslash in its name"
    if name.startswith("/"):
        return "has an absolute path"
    if re.match(r"[A-Za-z]:", name):
        return "has a drive letter"
    if ".." in name.split("/"):
        return "leaves the folder"
    if len(encoded) > LONGEST_NAME or max(map(len, encoded.split(b"/"))) > LONGEST_PART:
        return "has too long a name"
    return ""


def _is_wanted(name: str) -> bool:
    name = name.lower()
    return name in TEXTS or name.endswith((*decoding.IMAGE_SUFFIXES, *TABLES_AND_TEXTS))


def _require_within(
    container: containers.Container, limits: Limits, count: int, total: int
) -> None:
    if count > limits.members:
        raise errors.UserError(
            f"refused {container.path}: it has more than {limits.members:,} members"
        )
    if total > limits.total:
        raise errors.UserError(
            f"refused {container.path}: unpacks to more than {limits.total:,} bytes"
        )


def _collisions(members: Sequence[Member], folders: Sequence[str]) -> list[str]:
    """Members that are one file, on some file system at least, are a folder or lie below a file."""
    problems = []
    seen: dict[str, Member] = {}
    for member in members:
        first = seen.setdefault(spelling.caseless(member.path), member)
        if first is member:
            continue
        if first.path == member.path:
            problems.append(f"{member.entry.name!r} is there twice")
        else:
            problems.append(
                f"{member.entry.name!r} is {first.entry.name!r} but for case or accents"
            )
    problems += [
        f"{seen[key].entry.name!r} is a file and a folder"
        for key in map(spelling.caseless, folders)
        if key in seen
    ]
    for member in members:
        for parent in pathlib.PurePosixPath(spelling.caseless(member.path)).parents:
            if str(parent) in seen:
                other = seen[str(parent)].entry.name
                problems.append(f"{member.entry.name!r} lies below {other!r}, which is a file")
    return problems
