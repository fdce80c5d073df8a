"""Whether plain values, read back from JSON, are of the kinds that were written."""

from collections.abc import Callable, Mapping
from typing import Any

NUMBER = int | float  # NaN is one, and so are True and False


def are(values: Any, kind: Any) -> bool:
    """Whether it is a list or a table, and all its items or values are of a kind."""
    items = values.values() if isinstance(values, dict) else values
    return isinstance(values, dict | list) and all(isinstance(item, kind) for item in items)


def is_table_of_numbers(value: Any) -> bool:
    """Whether it is a table of tables of numbers."""
    return isinstance(value, dict) and all(
        isinstance(row, dict) and are(row, NUMBER) for row in value.values()
    )


def wrong(found: Mapping[str, Any], wanted: Mapping[str, Callable[[Any], bool]]) -> list[str]:
    """Names of the values that are there and not as wanted."""
    known = [(name, is_sound) for name, is_sound in wanted.items() if name in found]
    return [name for name, is_sound in known if not is_sound(found[name])]
