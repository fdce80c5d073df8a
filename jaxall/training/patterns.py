"""Regular expressions over the paths of parameters, such as "backbone/denseblock4/.*"."""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from jaxall import errors

NEAREST = 3  # paths that are named where a pattern matches none


def path_of(keys: Any) -> str:
    """The path that a key path of `jax.tree_util` stands for."""
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def paths(tree: Any) -> list[str]:
    """Of all leaves, in the tree's order."""
    return [path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(tree)]


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern stands for the whole of a path."""
    return re.fullmatch(pattern, path) is not None


def problems(name: str, pattern: str) -> Iterator[str]:
    """A line if the setting `name` is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        yield f"{name} is a regular expression; got {pattern!r} ({error})"


def check(patterns: Mapping[str, str], params: Any) -> None:
    """Every pattern must match a parameter.

    Args:
        patterns: by the name of the setting that they are of.
        params: or their shapes.

    Raises:
        UserError: one matches none; the nearest paths are given.
    """
    there_are = paths(params)
    missed = {
        name: pattern
        for name, pattern in patterns.items()
        if not any(matches(pattern, path) for path in there_are)
    }
    errors.refuse(
        f"{name}: {pattern!r} matches no parameter; the nearest are "
        f"{', '.join(_nearest(pattern, there_are))}"
        for name, pattern in missed.items()
    )


def _nearest(pattern: str, there_are: list[str]) -> list[str]:
    """Paths, and "folder/.*" for all below one, that look most like a pattern."""
    folders = {path[: end.start()] for path in there_are for end in re.finditer("/", path)}
    candidates = [*sorted(f"{folder}/.*" for folder in folders), *there_are]
    return difflib.get_close_matches(pattern, candidates, NEAREST, 0.0)
