"""An audit of a data set for the terminal, and which of its pictures to look at.

Audits are as `jaxall.data.audit` makes them: plain values, read from JSON.
"""

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box, console, table, text

from jaxall.reporting import tables

COLUMNS, ON_A_SHEET = 6, 48
MOST_SHEETS = 4  # of one kind
_LIKENESS = re.compile(r"^near .*(\(([\d.]+)[^()]*\))$")  # a near duplicate's reason
LISTED = 5  # paths named for each kind of outlier


def summary(audit: Mapping[str, Any]) -> console.Group:
    """Warnings, classes, kinds of file, outliers and baselines, as one renderable."""
    title = text.Text(f"audit of {audit['name']}, {audit['pictures']:,} pictures", style="bold")
    parts: list[console.RenderableType] = [title, _warnings(audit), _classes(audit), _kinds(audit)]
    if any(kind["pictures"] for kind in audit["outliers"].values()):
        parts.append(_outliers(audit))
    if audit.get("baselines"):
        parts.append(_baselines(audit))
    return console.Group(*parts)


def sheets(audit: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """What to look at: name of a contact sheet -> (path, caption) of each of its pictures.

    Groups of copies with different labels, then near copies, the least alike first (of exact ones
    there is nothing to see), then each kind of outlier; long lists fill several sheets, and end
    after `MOST_SHEETS`. What all captions of a kind begin their paths with is left away. Groups
    begin a row of `COLUMNS` of their own where the one before has no room for them, behind empty
    cells of no path.
    """
    conflicts = {path for group in audit["conflicts"] for path in group}
    parted: list[list[tuple[str, str]]] = []
    near: list[tuple[float, list[tuple[str, str]]]] = []
    for number, group in enumerate(audit["duplicates"]["groups"], start=1):
        lines = list(zip(group["paths"], group["classes"], group["reasons"], strict=True))
        if group["paths"][0] in conflicts:
            parted.append([(path, f"{number}: {name}, ") for path, name, _ in lines])
        likeness = [float(found[2]) for *_, reason in lines if (found := _LIKENESS.search(reason))]
        if likeness:
            cells = [(path, f"{number}: {_likeness(reason)}") for path, _, reason in lines]
            near.append((min(likeness), cells))
    near.sort(key=lambda pair: pair[0])
    found = {"conflicts": _in_rows(parted), "near-duplicates": _in_rows(cells for _, cells in near)}
    for name, kind in audit["outliers"].items():
        found[name.replace(" ", "-")] = [
            (path, f"{figure:.2f} ") for path, figure in kind["pictures"].items()
        ]
    found = {name: _captioned(cells) for name, cells in found.items()}
    return {
        f"{name}-{sheet + 1}": cells[sheet * ON_A_SHEET : (sheet + 1) * ON_A_SHEET]
        for name, cells in found.items()
        for sheet in range(min(-(-len(cells) // ON_A_SHEET), MOST_SHEETS))
    }


def _in_rows(groups: Iterable[Sequence[tuple[str, str]]]) -> list[tuple[str, str]]:
    """All cells; a group that would be torn begins a new row."""
    cells: list[tuple[str, str]] = []
    for group in groups:
        room = -len(cells) % COLUMNS
        if room < len(group):
            cells += [("", "")] * room
        cells += group
    return cells


def _captioned(cells: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Captions completed by the paths, without the folders that all of them lie in."""
    folders = [posixpath.dirname(path) for path, _ in cells if path]
    common = posixpath.commonpath(folders) if folders else ""
    cut = len(common) + 1 if common else 0
    return [(path, f"{caption}{path[cut:]}") for path, caption in cells]


def _likeness(reason: str) -> str:
    """What stands in brackets at the end of a near duplicate's reason; "(exact) " of another."""
    found = _LIKENESS.search(reason)
    return f"{found[1]} " if found else "(exact) "


def _table(title: str, *columns: str) -> table.Table:
    """An empty table, figures to the right of the first column."""
    result = table.Table(box=box.SIMPLE_HEAD, show_edge=False)
    result.title, result.title_justify = text.Text(f"\n{title}", style="bold"), "left"
    for position, column in enumerate(columns):
        result.add_column(column, justify="right" if position else "left", overflow="fold")
    return result


def _warnings(audit: Mapping[str, Any]) -> table.Table:
    result = table.Table.grid(padding=(0, 1))
    for warning in audit["warnings"] or ["nothing to warn of"]:
        result.add_row(text.Text("-"), text.Text(warning, overflow="fold"))
    return result


def _classes(audit: Mapping[str, Any]) -> table.Table:
    has_subjects = audit["subjects"]["count"] > 0
    columns = ("class", "pictures", "share", "in a group of copies")
    result = _table("classes", *columns, *(["subjects"] if has_subjects else []))
    for name, count in audit["classes"].items():
        copies = audit["duplicates"]["by_class"][name]
        cells = [f"{count:,}", tables.percent(count / audit["pictures"]), f"{copies:,}"]
        cells += [f"{audit['subjects']['by_class'][name]:,}"] if has_subjects else []
        result.add_row(text.Text(name), *cells)
    return result


def _kinds(audit: Mapping[str, Any]) -> table.Table:
    result = _table("kinds of file", "format, colours, size", *audit["classes"])
    for kind in audit["kinds"]:
        words = f"{kind['format']} {kind['colour mode']} {kind['size']}"
        result.add_row(words, *(f"{count:,}" for count in kind["classes"].values()))
    if audit["other_kinds"]:
        result.add_row(f"and {audit['other_kinds']:,} others")
    return result


def _outliers(audit: Mapping[str, Any]) -> table.Table:
    result = _table("outliers", "kind", "pictures", "the furthest")
    for name, kind in audit["outliers"].items():
        if kind["pictures"]:
            first = [f"{path} ({figure:+.1f})" for path, figure in kind["pictures"].items()]
            result.add_row(name, f"{len(first):,}", text.Text("\n".join(first[:LISTED])))
    return result


def _baselines(audit: Mapping[str, Any]) -> table.Table:
    sides = list(audit["baselines"])
    result = _table("accuracy without morphology", "baseline", *sides)
    for name in audit["baselines"][sides[0]]:
        shares = (tables.percent(audit["baselines"][side].get(name)) for side in sides)
        result.add_row(text.Text(name), *shares)
    return result
