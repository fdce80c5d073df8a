"""The one exception that commands turn into a line and exit code 2."""

from collections.abc import Iterable


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
