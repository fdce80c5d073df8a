"""An experiment's settings: those that each library declares, put together.

A config file imports this module only, and is one call in `get_config()`. The same settings travel
as JSON in a run's folder; only that JSON is read back, never a config file.
"""

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from jaxall import models
from jaxall.data import DATA_SETS, transforms
from jaxall.data.dataset import DataSettings
from jaxall.data.pipeline import LoaderSettings
from jaxall.data.preprocessing import PreprocessingSettings
from jaxall.data.splits import SplitSettings
from jaxall.data.transforms import (
    Brightness,
    Contrast,
    FlipHorizontal,
    FlipVertical,
    Rotate,
)
from jaxall.errors import UserError
from jaxall.models.head import ModelSettings
from jaxall.training.optim import OptimSettings
from jaxall.training.plan import TrainSettings

_KIND = "transform"  # key that names a transform's class in JSON
# What may change between the start of a run and its continuation: none of it changes the result.
FREE = ("loader", "data.root", "train.log_every", "train.checkpoint_every")


@dataclasses.dataclass(kw_only=True)
class Config:
    """Everything that decides a run.

    Attributes:
        name: of the experiment; the run's folder is runs/NAME unless --workdir says otherwise.
        seed: of weights, order, augmentation and dropout.
        augmentation: transforms in their order, applied to training pictures only.
    """

    name: str
    seed: int = 0
    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    split: SplitSettings = dataclasses.field(default_factory=SplitSettings)
    preprocessing: PreprocessingSettings = dataclasses.field(default_factory=PreprocessingSettings)
    augmentation: tuple[Any, ...] = ()
    loader: LoaderSettings = dataclasses.field(default_factory=LoaderSettings)
    model: ModelSettings = dataclasses.field(default_factory=ModelSettings)
    optim: OptimSettings = dataclasses.field(default_factory=OptimSettings)
    train: TrainSettings = dataclasses.field(default_factory=TrainSettings)

    def validate(self) -> None:
        """Raises one UserError with every impossible setting."""
        checks = [
            lambda: models.find(self.model.name),
            self._check_names,
            self.split.validate,
            self.preprocessing.validate,
            lambda: transforms.validate(self.augmentation),
            self.loader.validate,
            self.model.validate,
            self.optim.validate,
            self.train.validate,
        ]
        problems = []
        for check in checks:
            try:
                check()
            except UserError as error:
                problems.append(str(error))
        if problems:
            raise UserError("; ".join(problems))

    def _check_names(self) -> None:
        if self.data.name not in DATA_SETS:
            raise UserError(
                f"no data set is called {self.data.name!r}, there are {', '.join(DATA_SETS)}"
            )
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise UserError(f"name is made of letters, digits, '_', '.', '-'; got {self.name!r}")
        if self.seed < 0:
            raise UserError(f"seed is at least 0; got {self.seed}")

    def to_json(self) -> str:
        """The settings as JSON text."""
        return json.dumps(_to_plain(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """The inverse of `to_json`.

        Raises:
            UserError: not JSON, an unknown field, or a value of the wrong type.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"the saved config is not JSON: {error}") from error
        return _from_plain(cls, values, "config")


def differences(old: Config, new: Config) -> list[str]:
    """Lines "field: old -> new" for every setting that decides the result."""
    before, after = dict(_flatten(_to_plain(old))), dict(_flatten(_to_plain(new)))
    return [
        f"{name}: {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
        and not any(name == free or name.startswith(free + ".") for free in FREE)
    ]


def define_flag() -> flags.FlagHolder[Config]:
    """Defines --config FILE.py and --config.FIELD=VALUE."""
    holder = config_flags.DEFINE_config_file("config", None, "a file with get_config()")
    flags.mark_flag_as_required("config")
    return holder


def check_overrides(argv: Sequence[str]) -> None:
    """Raises UserError for a --config.FIELD that no config has, naming the nearest that exist."""
    known = list(_field_names(Config))
    for argument in argv:
        match = re.match(r"--config\.([^=]+)", argument)
        if not match:
            continue
        # Parts of a tuple's items (augmentation[0].degrees) are checked against the items later.
        name = re.sub(r"\[.*", "", match[1])
        if name not in known:
            near = difflib.get_close_matches(name, known, 3, 0.5)
            hint = f"; the nearest are {', '.join(near)}" if near else ""
            raise UserError(f"no setting is called {match[1]!r}{hint}")


def _field_names(cls: type, prefix: str = "") -> Iterator[str]:
    for name, hint in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint):
            yield from _field_names(typing.cast(type, hint), f"{prefix}{name}.")
        else:
            yield prefix + name


def _to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        plain = {f.name: _to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {_KIND: type(value).__name__, **plain} if type(value) in _KINDS else plain
    return [_to_plain(item) for item in value] if isinstance(value, tuple) else value


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flatten(item, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, item in enumerate(value):
            yield from _flatten(item, f"{prefix}[{index}]")
    else:
        yield prefix, value


def _from_plain(hint: Any, value: Any, where: str) -> Any:
    if isinstance(value, dict) and _KIND in value:
        hint = transforms.by_name.get(value[_KIND])
        if hint is None:
            raise UserError(f"{where}: no transform is called {value[_KIND]!r}")
        value = {key: item for key, item in value.items() if key != _KIND}
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = typing.get_type_hints(hint)
        if unknown := sorted(set(value) - set(hints)):
            raise UserError(f"{where} has no field {', '.join(unknown)}; it has {', '.join(hints)}")
        items = {name: _from_plain(hints[name], x, f"{where}.{name}") for name, x in value.items()}
        return typing.cast(type, hint)(**items)
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_from_plain(typing.get_args(hint)[0], item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is not Any and (isinstance(hint, types.GenericAlias) or type(value) is not hint):
        raise UserError(f"{where} is of type {hint}; got {value!r}")
    return value


_KINDS = frozenset(transforms.by_name.values())

__all__ = [
    "Brightness",
    "Config",
    "Contrast",
    "DataSettings",
    "FlipHorizontal",
    "FlipVertical",
    "LoaderSettings",
    "ModelSettings",
    "OptimSettings",
    "PreprocessingSettings",
    "Rotate",
    "SplitSettings",
    "TrainSettings",
    "check_overrides",
    "define_flag",
    "differences",
]
