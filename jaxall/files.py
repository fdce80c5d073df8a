"""Files that are written whole or not at all."""

import os
import pathlib
import uuid

from jaxall.errors import UserError


def home(path: str) -> pathlib.Path:
    """A path with its leading ~ or ~name resolved.

    Raises:
        UserError: there is no such home folder.
    """
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"can't resolve {path}: {error}") from error


def read_text(path: str | os.PathLike[str]) -> str:
    """The inverse of `write` for text."""
    return pathlib.Path(path).read_bytes().decode("utf-8", "surrogateescape")


def write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Replaces a file in one step, so that a crash leaves the old one or the new.

    Text is UTF-8; bytes of file names that aren't are kept as they are. Missing folders are made.
    """
    path = pathlib.Path(path)
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
