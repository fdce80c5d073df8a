"""An experiment's settings: those that each library declares, put together.

A config file imports this module only, and is one call in `get_config()`. The same settings travel
as JSON in a run's folder; only that JSON is read back, never a config file.
"""

import dataclasses
import json
import math
import re
import typing
from collections.abc import Iterator
from typing import Any

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
from jaxall.errors import UserError, refuse
from jaxall.evaluation import scores
from jaxall.models.head import ModelSettings
from jaxall.training.optim import OptimSettings
from jaxall.training.plan import TrainSettings

_KIND = "transform"  # key that names a transform's class in JSON
WORDS = {int: "a whole number", float: "a finite number", bool: "True or False", str: "a text"}
# What the best checkpoint can be chosen by: higher is better.
_SCORES = (*scores.OVERALL, "auroc")
# What may change between the start of a run and its continuation: none of it changes the result
# (model.remat by no more than rounding).
FREE = ("loader", "data.root", "model.remat", "train.log_every", "train.checkpoint_every")


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
        """Raises one UserError with every setting of a wrong type, or else every impossible one."""
        refuse(_mistakes(Config, _to_plain(self), ""))
        checks = [
            lambda: self._check_size(models.find(self.model.name)),
            self._check_init,
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
        refuse(problems)

    def _check_size(self, spec: models.ModelSpec) -> None:
        size = self.preprocessing.image_size
        if 0 < size < spec.min_image_size:
            raise UserError(
                f"preprocessing.image_size of {spec.name} is at least {spec.min_image_size}; "
                f"got {size}"
            )

    def _check_init(self) -> None:
        if self.model.name in models.SPECS:  # if not, that has been said
            models.official(models.find(self.model.name), self.model.init)

    def _check_names(self) -> None:
        problems = []
        if self.data.name not in DATA_SETS:
            problems.append(
                f"no data set is called {self.data.name!r}, there are {', '.join(DATA_SETS)}"
            )
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            problems.append(
                "name is made of letters, digits, '_', '.', '-', and begins with one of the first "
                f"three; got {self.name!r}"
            )
        if self.train.best_by not in _SCORES:
            problems.append(
                f"train.best_by is one of {', '.join(_SCORES)}; got {self.train.best_by!r}"
            )
        if not 0 <= self.seed < 2**31:
            problems.append(f"seed is at least 0 and below 2**31; got {self.seed}")
        epochs, warmup = self.train.epochs, self.optim.warmup_epochs
        if 0 < epochs < warmup:
            problems.append(f"optim.warmup_epochs is at most the {epochs:g} epochs; got {warmup:g}")
        if 0 < epochs <= max(self.optim.step_epochs, default=0.0):
            steps = self.optim.step_epochs
            problems.append(f"optim.step_epochs lie before the end, epoch {epochs:g}; got {steps}")
        refuse(problems)

    def to_json(self) -> str:
        """The settings as JSON text."""
        return json.dumps(_to_plain(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """The inverse of `to_json`.

        Raises:
            UserError: not JSON, or unknown or missing fields, or values of the wrong type.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"it is not JSON: {error}") from error
        refuse(_mistakes(cls, values, ""))
        return _from_plain(cls, values)


def differences(old: Config, new: Config) -> list[str]:
    """Lines "field: old -> new" for every setting that decides the result."""
    before, after = dict(_flatten(_to_plain(old))), dict(_flatten(_to_plain(new)))
    return [
        f"{name}: {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
        and not any(name == free or name.startswith(free + ".") for free in FREE)
    ]


def _to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        plain = {f.name: _to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {_KIND: type(value).__name__, **plain} if type(value) in _KINDS else plain
    return [_to_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flatten(item, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, item in enumerate(value):
            yield from _flatten(item, f"{prefix}[{index}]")
    else:
        yield prefix, value


def _mistakes(hint: Any, value: Any, name: str) -> Iterator[str]:
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
                yield from _mistakes(hints[key], value[key], f"{prefix}{key}")
    elif typing.get_origin(hint) is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _mistakes(typing.get_args(hint)[0], item, f"{name}[{index}]")
    elif not _is_of_type(hint, value):
        word = WORDS.get(hint, "a list" if typing.get_origin(hint) is tuple else "a table")
        yield f"{name or 'it'} is {word}; got {value!r}"


def _mistakes_of_transform(value: Any, name: str) -> Iterator[str]:
    kind = value.get(_KIND) if isinstance(value, dict) else value
    if not isinstance(kind, str) or kind not in transforms.by_name:
        yield f"{name} is one of {', '.join(transforms.by_name)}; got {kind!r}"
    else:
        items = {key: item for key, item in value.items() if key != _KIND}
        yield from _mistakes(transforms.by_name[kind], items, name)


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def _is_of_type(hint: Any, value: Any) -> bool:
    if hint is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and math.isfinite(value)
    return type(value) is hint


def _from_plain(hint: Any, value: Any) -> Any:
    """Builds what a plain value without mistakes stands for."""
    if hint is Any:
        items = {key: item for key, item in value.items() if key != _KIND}
        return _from_plain(transforms.by_name[value[_KIND]], items)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        items = {key: _from_plain(hints[key], item) for key, item in value.items()}
        return typing.cast(type, hint)(**items)
    if typing.get_origin(hint) is tuple:
        return tuple(_from_plain(typing.get_args(hint)[0], item) for item in value)
    return float(value) if hint is float else value


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
    "differences",
]
