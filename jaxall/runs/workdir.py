"""A run's folder: what is kept beside the checkpoints, and who may write there.

config.json   the resolved settings        split.csv      side, group and reason of every picture
run.json      classes, preprocessing, ...  journal.jsonl  what happened, by step
pictures.sha256   of every picture's file
quarantine.csv    pictures that can't be read, and why, if there are any
audit.json        copies, giveaways and outliers among the pictures
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from jaxall import config as config_lib
from jaxall import files, kinds, models
from jaxall.data.preprocessing import Preprocessing
from jaxall.errors import UserError
from jaxall.training import checkpoints

CONFIG, FACTS, SPLIT = "config.json", "run.json", "split.csv"
PICTURES = "pictures.sha256"
SCORED = "evaluation"  # folder of what was scored
# What is read of run.json must be as these say.
KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        ("data", "versions", "sampling", "data.counts"), lambda value: isinstance(value, dict)
    ),
    "baselines": kinds.is_table_of_numbers,
    "data.caveat": lambda value: isinstance(value, str),
    "command": lambda value: isinstance(value, list),
}
UNFIT = ("[", "]", "\\")  # in names of folders


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What must be known of a run to use its weights.

    Attributes:
        workdir: its folder.
        config: its settings.
        class_names: in the order of the logits.
        preprocessing: the one that the weights were trained with.
        facts: everything else in run.json (baselines, counts, versions).
    """

    workdir: pathlib.Path
    config: config_lib.Config
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    facts: dict[str, Any]


def exists(workdir: pathlib.Path) -> bool:
    """Whether a run was fully set up there."""
    return (workdir / FACTS).exists()


def save_config(workdir: pathlib.Path, config: config_lib.Config) -> None:
    """Writes the resolved settings, or checks them against those of the run that is there.

    A run without a checkpoint has nothing to lose: with other settings it is set up anew. Of one
    that is set up the settings that may change stay as they are until `update_config`.

    Raises:
        UserError: the folder holds a run with other settings, or something that is no run.
    """
    path = workdir / CONFIG
    if path.exists():
        changed = config_lib.differences(_read_config(workdir), config)
        kept = (workdir / checkpoints.FOLDER).glob("*")  # others are half-written
        if changed and any(entry.name.isdecimal() for entry in kept):
            raise UserError(
                f"{workdir} holds a run with other settings ({len(changed)} differ, the first: "
                f"{changed[0]}); choose another --workdir or the same settings",
                changed,
            )
        if changed:
            (workdir / FACTS).unlink(missing_ok=True)
            _set_aside(workdir / SCORED)
        elif exists(workdir):
            return
    elif workdir.is_dir() and any(name[0] != "." for name in os.listdir(workdir)):
        raise UserError(f"{workdir} is not empty and holds no run: choose another --workdir")
    files.write(path, config.to_json())


def _set_aside(folder: pathlib.Path) -> None:
    """Gives what was scored of a run that is gone another name."""
    number = 1
    while os.path.lexists(other := folder.with_name(f"{folder.name}.old{number}")):
        number += 1
    if folder.exists():
        folder.rename(other)


def update_config(workdir: pathlib.Path, config: config_lib.Config) -> None:
    """Writes the settings of a run that goes on, once its pictures have been found with them."""
    files.write(workdir / CONFIG, config.to_json())


def save_facts(
    workdir: pathlib.Path,
    class_names: tuple[str, ...],
    preprocessing: Preprocessing,
    facts: dict[str, Any],
) -> None:
    """Writes run.json, last of all: a folder that has it is set up."""
    values = {
        "class_names": list(class_names),
        "preprocessing": preprocessing.to_json(),
        **facts,
    }
    files.write(workdir / FACTS, json.dumps(values, indent=2) + "\n")


def load(workdir: pathlib.Path) -> Run:
    """Reads a run's folder.

    Raises:
        UserError: there is no run there, or one of its files is damaged.
    """
    missing = [name for name in (CONFIG, FACTS, SPLIT, PICTURES) if not (workdir / name).is_file()]
    if missing:
        folds = sorted(workdir.glob(f"fold[0-9]*/{FACTS}"))
        hint = f"; it holds folds, each a run, as {folds[0].parent}" if folds else ""
        raise UserError(f"{workdir} is not the folder of a run: {', '.join(missing)} missing{hint}")
    try:
        facts = json.loads(files.read_text(workdir / FACTS))
        class_names = _names(facts.pop("class_names"))
        preprocessing = Preprocessing.from_json(facts.pop("preprocessing"))
        _require_kinds(facts)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{workdir / FACTS} is damaged: {error}") from error
    config = _read_config(workdir)
    models.find(config.model.name)
    return Run(
        workdir=workdir,
        config=config,
        class_names=class_names,
        preprocessing=preprocessing,
        facts=facts,
    )


def _require_kinds(facts: dict[str, Any]) -> None:
    """Raises ValueError naming what is of another kind than `save_facts` was given."""
    data = facts.get("data")
    within = {f"data.{name}": x for name, x in data.items()} if isinstance(data, dict) else {}
    if wrong := kinds.wrong(facts | within, KINDS):
        raise ValueError(f"{', '.join(wrong)} of another kind")


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not kinds.are(value, str):
        raise ValueError(f"class_names is a list of texts; got {value!r:.60}")
    return tuple(value)


def _read_config(workdir: pathlib.Path) -> config_lib.Config:
    try:
        return config_lib.Config.from_json(files.read_text(workdir / CONFIG))
    except ValueError as error:  # UserError and UnicodeDecodeError among them
        raise UserError(f"{workdir / CONFIG} is damaged: {error}") from error


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Keeps a second process from training in the same folder; the lock dies with its process.

    Raises:
        UserError: the folder can't be written, has a name that checkpoints can't be written below,
            or another process holds it.
    """
    name = str(workdir.absolute())
    if any(character in name for character in UNFIT) or not name.isprintable():
        raise UserError(
            f"{name!r} has one of {' '.join(UNFIT)} or what is no text in it, below which Orbax "
            "writes checkpoints that it can't read: choose another --workdir"
        )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / ".lock").open("w")
    except OSError as error:
        raise UserError(f"can't write to {workdir}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"another process is training in {workdir}") from error
        yield
