"""Settings as plain values that JSON knows, and back, with every mistake told by its name."""

import dataclasses
import math
import typing
from collections.abc import Iterator
from typing import Any

from jaxall.data import transforms

_KIND = "transform"  # key that names a transform's class
_KINDS = frozenset(transforms.by_name.values())
WORDS = {int: "a whole number", float: "a finite number", bool: "True or False", str: "a text"}


def to_plain(value: Any) -> Any:
    """Dataclasses as dicts and tuples as lists; a transform says its class."""
    if dataclasses.is_dataclass(value):
        plain = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {_KIND: type(value).__name__, **plain} if type(value) in _KINDS else plain
    return [to_plain(item) for item in value] if isinstance(value, tuple | list) else value


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, value) of every setting: "train.epochs", "augmentation[0].degrees" and so on."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flatten(item, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, item in enumerate(value):
            yield from flatten(item, f"{prefix}[{index}]")
    else:
        yield prefix, value


def mistakes(hint: Any, value: Any, name: str) -> Iterator[str]:
    """A line for each part of a plain value that is not of its type."""
    if hint is Any:
        yield from _mistakes_of_transform(value, name)
    elif dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints, prefix = typing.get_type_hints(hint), f"{name}." if name else ""
        needed = [f.name for f in dataclasses.fields(hint) if _is_required(f)]
        for key in (*value, *needed):
            if key not in hints:
                yield f"no setting is called '{prefix}{key}', there are {', '.join(hints)}"
            elif key not in value:
                yield f"{prefix}{key} is missing"
            else:
                yield from mistakes(hints[key], value[key], f"{prefix}{key}")
    elif typing.get_origin(hint) is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            yield from mistakes(typing.get_args(hint)[0], item, f"{name}[{index}]")
    elif not _is_of_type(hint, value):
        word = WORDS.get(hint, "a list" if typing.get_origin(hint) is tuple else "a table")
        yield f"{name or 'it'} is {word}; got {value!r}"


def _mistakes_of_transform(value: Any, name: str) -> Iterator[str]:
    kind = value.get(_KIND) if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in transforms.by_name:
        came = repr(kind) if isinstance(value, dict) else f"{type(value).__name__} {value!r}"
        yield f"{name} is one of {', '.join(transforms.by_name)}; got {came}"
    else:
        items = {key: item for key, item in value.items() if key != _KIND}
        yield from mistakes(transforms.by_name[kind], items, name)


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def _is_of_type(hint: Any, value: Any) -> bool:
    if hint is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and math.isfinite(value)
    return type(value) is hint


def from_plain(hint: Any, value: Any) -> Any:
    """Builds what a plain value without mistakes stands for."""
    if hint is Any:
        items = {key: item for key, item in value.items() if key != _KIND}
        return from_plain(transforms.by_name[value[_KIND]], items)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        items = {key: from_plain(hints[key], item) for key, item in value.items()}
        return typing.cast(type, hint)(**items)
    if typing.get_origin(hint) is tuple:
        return tuple(from_plain(typing.get_args(hint)[0], item) for item in value)
    return float(value) if hint is float else value
