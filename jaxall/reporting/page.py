"""The page that compares runs: one HTML file that needs nothing else, nor a network.

Everything that comes from outside (names of files, classes, runs) is escaped by the template; and
were a mark ever missed, the page's policy lets no script run but its own, and nothing be loaded.
"""

import base64
import hashlib
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jinja2

from jaxall.reporting import standings, tables

_FOLDER = pathlib.Path(__file__).parent
TEMPLATE, STYLE, SCRIPT = "page.html.j2", "page.css", "page.js"


def render(view: Mapping[str, Any]) -> str:
    """The page's text.

    Args:
        view: what the template names, in plain values; drawings as `inline.embed` makes them.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": score,
        "bounds": bounds,
        "wording": tables.wording,
        "value": value,
        "plain": lambda found: "" if found is None or found != found else repr(found),
    }
    style, script = ((_FOLDER / name).read_text("utf-8") for name in (STYLE, SCRIPT))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = environment.get_template(TEMPLATE).render(
        **view, style=style, script=script, script_digest=digest
    )
    # Names of files may hold bytes that are no text.
    return text.encode("utf-8", "backslashreplace").decode()


def score(row: Mapping[str, Any], name: str) -> str:
    """A score of a row as `standings` makes it; a dash where there is none."""
    return tables.score(name, row.get(name))


def bounds(row: Mapping[str, Any], name: str) -> str:
    """The interval, or the deviation of folds, in the score's own unit; "" where there is none."""
    factor, decimals = (100, 1) if standings.is_share(name) else (1, 3)
    parts = {part: row.get(f"{name}_{part}", math.nan) for part in ("low", "high", "deviation")}
    low, high, deviation = (f"{factor * part:.{decimals}f}" for part in parts.values())
    if math.isfinite(parts["deviation"]):
        return f"± {deviation}"
    return f"{low} to {high}" if math.isfinite(parts["low"] + parts["high"]) else ""


def value(found: Any) -> str:
    """Any plain value, in few characters: 1000 as 1,000, 0.25 as 0.25, None as a dash."""
    if found is None or found != found:  # NaN isn't itself
        return tables.DASH
    if isinstance(found, bool | str):
        return str(found)
    if isinstance(found, int):
        return f"{found:,}"
    if isinstance(found, float):
        return f"{found:.6g}"
    return ", ".join(map(value, found)) or "none"
