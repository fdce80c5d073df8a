"""Lists of checksums as `sha256sum` prints them: hash, two spaces, path; a line for each file."""

import pathlib
from collections.abc import Mapping

from jaxall import files


def save(sums: Mapping[str, str], path: pathlib.Path) -> None:
    """Writes path -> sha256 in the order given; no path holds a line break."""
    files.write(path, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def load(path: pathlib.Path) -> dict[str, str]:
    """The inverse of `save`.

    Raises:
        OSError: it can't be read.
    """
    # Not `splitlines`: names may hold what Python takes for other ends of lines.
    lines = files.read_text(path).split("\n")[:-1]
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
