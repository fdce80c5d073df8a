"""The one exception that commands turn into a line and exit code 2."""

from collections.abc import Iterable, Sequence


class UserError(ValueError):
    """What was wanted, what came, and what there is: one line, for the person at the terminal.

    Attributes:
        details: further lines for lists too long for one (unreadable files, mismatched keys).
    """

    def __init__(self, message: str, details: Iterable[str] = ()):
        super().__init__(message)
        self.details = tuple(details)


def refuse(problems: Iterable[str]) -> None:
    """Raises one UserError with all problems, if there are any."""
    if found := list(problems):
        raise UserError("; ".join(found))


def some(names: Sequence[str], separator: str = ", ", most: int = 3) -> str:
    """The first of many, for a line that mustn't grow long."""
    return separator.join([*names[:most], *(["..."] if len(names) > most else [])])


def reason(error: BaseException) -> str:
    """What the system says of an OSError, without the path that goes with it; else its message."""
    return getattr(error, "strerror", None) or str(error)
