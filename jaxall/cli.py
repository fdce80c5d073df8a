"""How every command starts and ends: flags by absl, bad input in one line, exit code 2."""

import io
import logging as standard_logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags, logging
from rich import console as rich_console

from jaxall.errors import UserError

BAD_INPUT, INTERRUPTED = 2, 130
WIDTH = 110
LISTED = 20  # lines of an error's details that are printed


def run(
    main: Callable[[list[str]], int],
    check: Callable[[Sequence[str]], None] = lambda argv: None,
) -> None:
    """Parses flags, runs `main`, and exits with its code.

    A UserError, an unknown flag or an impossible value ends in one line on stderr and exit code 2;
    Ctrl-C in exit code 130.

    Args:
        main: gets the positional arguments.
        check: gets the raw command line before the flags are parsed.
    """
    logging.set_verbosity(logging.ERROR)
    # What Orbax's threads say of a checkpoint that can't be read is said in a line already.
    standard_logging.getLogger("asyncio").setLevel(standard_logging.CRITICAL)
    sys.unraisablehook = _show
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold bytes that are no text
        sys.stdout.reconfigure(errors="backslashreplace")
    app.run(
        lambda argv: _leave(guarded(main, argv[1:])),
        flags_parser=lambda argv: _parse(argv, check),
    )


def _show(found: "sys.UnraisableHookArgs") -> None:
    """What can't be raised, but what Orbax's threads say of a checkpoint that can't be read.

    They report to an event loop that the first of them to fail has closed, and each would print a
    traceback of that in the midst of the line that tells it.
    """
    if str(found.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(found)


def _leave(code: int) -> NoReturn:
    """Ends the process; after Ctrl-C at once, for threads that compile can't be waited for."""
    if code == INTERRUPTED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def guarded(main: Callable[[list[str]], int], arguments: list[str]) -> int:
    """The exit code of `main`, a UserError or OSError of it printed in one line."""
    try:
        return main(arguments)
    except UserError as error:
        _fail(error)
        return BAD_INPUT
    except OSError as error:  # a full disk, a folder that can't be written, a file that is one
        place = f": {error.filename}" if error.filename else ""
        _fail(UserError(f"{error.strerror or error}{place}"))
        return BAD_INPUT
    except KeyboardInterrupt:
        print("stopped by the keyboard", file=sys.stderr)
        return INTERRUPTED


def _fail(error: UserError) -> None:
    lines = [f"error: {' '.join(str(error).split())}"]
    lines += [f"  {line}" for line in error.details[:LISTED]]
    if len(error.details) > LISTED:
        lines.append(f"  ... and {len(error.details) - LISTED} more")
    # As on standard output: a name may hold bytes that are no text.
    print("\n".join(lines).encode("utf-8", "backslashreplace").decode(), file=sys.stderr)


def _parse(argv: Sequence[str], check: Callable[[Sequence[str]], None]) -> list[str]:
    try:
        check(argv)
        return flags.FLAGS(list(argv))
    except UserError as error:
        _fail(error)
    except (flags.Error, AttributeError, LookupError, TypeError, ValueError) as error:
        _fail(UserError(str(error) or type(error).__name__))
    sys.exit(BAD_INPUT)


def console(*, is_quiet: bool = False) -> rich_console.Console:
    """Where commands speak: the terminal, or plain lines of a readable width.

    Brackets in names of files are text, not markup.
    """
    width = None if sys.stdout.isatty() else WIDTH
    return rich_console.Console(width=width, highlight=False, markup=False, quiet=is_quiet)
