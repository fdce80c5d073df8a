"""The flag --config FILE.py and its overrides, --config.FIELD=VALUE, which ml_collections parses.

Both are checked before that, so that a mistake ends in one line that says what there is.
"""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
import re
import runpy
import traceback
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from etils import epy
from ml_collections import config_flags

from jaxall.errors import UserError

with epy.lazy_imports():  # --help needs no settings, and so none of the libraries they are of
    from jaxall import config as config_lib
    from jaxall import plain

_HELP = re.compile(r"--?(help|helpfull|helpshort|helpxml|h|\?)(=.*)?")
_FILE = re.compile(r"--?config(?:=(.*))?", re.DOTALL)
_OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]+)(?:=(.*))?", re.DOTALL)
_PARSERS = {
    int: flags.IntegerParser(),
    float: flags.FloatParser(),
    bool: flags.BooleanParser(),
}


def define(
    values: flags.FlagValues = flags.FLAGS, argv: list[str] | None = None
) -> flags.FlagHolder[config_lib.Config]:
    """Defines the flag; `argv` is where overrides are looked for, `sys.argv` if None."""
    return config_flags.DEFINE_config_file(
        "config",
        None,
        "FILE.py with get_config(), see configs/; --config.FIELD=VALUE changes one of its settings",
        flag_values=values,
        sys_argv=argv,
    )


def check(argv: Sequence[str]) -> None:
    """Looks at a command line before its flags are parsed; one that asks for help is let through.

    Raises:
        UserError: no config file or one that can't be loaded, a setting that it doesn't have (the
            nearest are named), or a value of the wrong type.
    """
    argv = flags.FLAGS.read_flags_from_files(list(argv), force_gnu=False)[1:]
    argv = argv[: argv.index("--")] if "--" in argv else argv
    if any(_HELP.fullmatch(argument) for argument in argv):
        return
    pairs = list(zip(argv, [*argv, None][1:], strict=True))
    files = [after if m[1] is None else m[1] for x, after in pairs if (m := _FILE.fullmatch(x))]
    if not files or not files[-1]:
        raise UserError(
            "wanted --config FILE.py, a file with get_config() such as those in configs/"
        )
    known = dict(_fields(load(files[-1])))
    for argument, after in pairs:
        if match := _OVERRIDE.fullmatch(argument):
            _check_override(known, match[1], match[2], after)


def load(file: str) -> config_lib.Config:
    """What `get_config()` of a file returns.

    Args:
        file: its path; what follows a colon is handed to `get_config`.

    Raises:
        UserError: there is no such file, it fails, or it returns something else.
    """
    path, *arguments = file.split(":", 1)
    config = call(path, "config", *arguments)
    if not isinstance(config, config_lib.Config):
        raise UserError(
            f"get_config() of {path} returns {type(config).__name__}; wanted a config.Config"
        )
    return config


def call(path: str, kind: str, *arguments: str) -> Any:
    """What the function `get_KIND` of a file of Python returns.

    Raises:
        UserError: there is no such file or function, or it fails.
    """
    if not pathlib.Path(path).is_file():
        raise UserError(f"no {kind} file at {path}: wanted a file with get_{kind}()")
    try:
        names = runpy.run_path(path)
        if not callable(names.get(f"get_{kind}")):
            raise UserError(f"{path} has no function get_{kind}()")
        return names[f"get_{kind}"](*arguments)
    except UserError:
        raise
    except Exception as error:  # a file of Python may raise anything
        lines = [x.lineno for x in traceback.extract_tb(error.__traceback__) if x.filename == path]
        place = f", line {lines[-1]}" if lines else ""
        raise UserError(f"{path}{place}: {type(error).__name__}: {error}") from error


def resolve(file: str, overrides: Sequence[str] = ()) -> config_lib.Config:
    """The config that a command line gives, validated: --config FILE with --config.FIELD=VALUE.

    Raises:
        UserError: as `check`, or an impossible setting.
    """
    argv = ["", "--config", file, *overrides]
    check(argv)
    values = flags.FlagValues()
    holder = define(values, argv)
    try:
        values(argv)
    except (flags.Error, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(str(error) or type(error).__name__) from error
    holder.value.validate()
    return holder.value


def _fields(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and type of each setting: train.epochs, augmentation[0].degrees, and so on."""
    for name, hint in typing.get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if dataclasses.is_dataclass(value):
            yield from _fields(value, f"{prefix}{name}.")
            continue
        yield prefix + name, hint
        for index, item in enumerate(value if isinstance(value, tuple) else ()):
            if dataclasses.is_dataclass(item):
                yield from _fields(item, f"{prefix}{name}[{index}].")


def _check_override(known: dict[str, Any], name: str, value: str | None, after: str | None) -> None:
    """`value` is what stands behind "=", `after` the next argument."""
    if name not in known:
        near = [x for x in known if x.startswith((f"{name}.", f"{name}["))]
        near = near or difflib.get_close_matches(name, known, 3, 0.5)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise UserError(f"no setting is called {name!r}{hint}")
    kind = known[name]
    if value is None and kind is not bool:  # which alone needs no value
        value = after
    if value is not None and kind in _PARSERS:
        try:
            _PARSERS[kind].parse(value)
        except ValueError as error:
            raise UserError(f"{name} is {plain.WORDS[kind]}; got {value!r}") from error
