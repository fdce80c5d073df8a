"""The folder that a page lies in, with its tables and figures as files."""

import json
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxall import files
from jaxall.errors import UserError
from jaxall.reporting import downloads, inline

INDEX, REPORT, DATA, FIGURES = "index.html", "report.json", "data", "figures"
LONGEST = 100  # characters of a file's name that come from a name
_OURS = re.compile(rf"({DATA}|{FIGURES})/[\w-]+\.(csv|json|svg)")


class PageFolder:
    """Draws and writes what a page shows, and keeps a list of it.

    What an earlier page left in the folder is taken away; anything else is left alone.

    Attributes:
        listed: "what", "rows" and "stem" (path without suffix) of each table.

    Raises:
        UserError: the folder holds something that is no page, or is a file.
    """

    def __init__(self, out: pathlib.Path):
        self._out = out
        self.listed: list[dict[str, Any]] = []
        self._written: list[str] = []
        if out.exists() and not out.is_dir():
            raise UserError(f"--out: {out} is a file; wanted the name of a folder")
        if out.is_dir() and any(out.iterdir()):
            self._clear()
        # A page that is never finished must be known as one, too.
        files.write(out / REPORT, json.dumps({"files": None}) + "\n")

    def table(self, name: str, what: str, table: downloads.Table) -> str:
        """Writes a table; returns its path below the folder, without suffix.

        Args:
            name: any text; what can't stand in the name of a file becomes a hyphen.
            what: in words, for the list.
            table: the table.
        """
        stem = f"{DATA}/{self._slug(name)}"
        downloads.save(table, self._out / stem)
        self._written += [f"{stem}.csv", f"{stem}.json"]
        self.listed.append({"what": what, "rows": len(table.rows), "stem": stem})
        return stem

    def figure(
        self,
        name: str,
        title: str,
        caption: str,
        draw: Callable[[pathlib.Path], None],
        table: downloads.Table,
    ) -> dict[str, str]:
        """Draws a figure and writes what it shows.

        Returns:
            "title", "caption", "svg" (fit to stand in the page), "drawing" (its path) and "stem".
        """
        stem = self.table(name, f"{title} {caption}".strip(), table)
        slug = stem.removeprefix(f"{DATA}/")
        drawing = f"{FIGURES}/{slug}.svg"
        draw(self._out / drawing)
        self._written.append(drawing)
        svg = inline.embed(files.read_text(self._out / drawing), slug, f"{title} {caption}")
        return {"title": title, "caption": caption, "svg": svg, "drawing": drawing, "stem": stem}

    def finish(self, text: str, report: Mapping[str, Any]) -> pathlib.Path:
        """Writes the page and report.json, which names every file; returns the page's path."""
        record = {**report, "files": [INDEX, *self._written]}
        files.write(self._out / REPORT, json.dumps(record, indent=1, allow_nan=False) + "\n")
        files.write(self._out / INDEX, text)
        return self._out / INDEX

    def _slug(self, name: str) -> str:
        """Of letters, digits and hyphens, and not yet taken, whatever the letters' case."""
        slug = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:LONGEST] or "table"
        taken = {file.partition("/")[2].partition(".")[0].lower() for file in self._written}
        numbered = (f"{slug}-{number}" for number in range(2, len(taken) + 3))
        return next(one for one in (slug, *numbered) if one.lower() not in taken)

    def _clear(self) -> None:
        try:
            listed = json.loads(files.read_text(self._out / REPORT))["files"]
            if listed is None:
                found = (path for path in self._out.rglob("*") if path.is_file())
                listed = [path.relative_to(self._out).as_posix() for path in found]
            ours = [name for name in listed if name == INDEX or _OURS.fullmatch(name)]
        except (OSError, LookupError, TypeError, ValueError) as error:
            raise UserError(
                f"--out: {self._out} is not empty and holds no page of runs: choose another"
            ) from error
        for name in ours:
            (self._out / name).unlink(missing_ok=True)


def shown(table: downloads.Table, headings: Sequence[str] = ()) -> dict[str, Any]:
    """A table as the page shows it: "columns", "rows", and which of the columns hold numbers."""
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    return {
        "columns": list(headings or [name.replace("_", " ") for name in table.columns]),
        "rows": [list(row) for row in table.rows],
        "is_number": [
            all(isinstance(cell, int | float | None) for cell in column) for column in columns
        ],
    }
