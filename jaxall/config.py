"""An experiment's settings: those that each library declares, put together.

A config file imports this module only, and is one call in `get_config()`. The same settings travel
as JSON in a run's folder; only that JSON is read back, never a config file.
"""

import dataclasses
import json
import re
from typing import Any

from jaxall import models, plain
from jaxall.data import DATA_SETS, transforms
from jaxall.data.balance import OF_CLASSES, BalanceSettings
from jaxall.data.colours import Brightness, Contrast, Gamma, Hue, Saturation, StainJitter
from jaxall.data.dataset import DataSettings
from jaxall.data.pipeline import LoaderSettings
from jaxall.data.pixels import Blur, Cutout, Noise
from jaxall.data.preprocessing import PreprocessingSettings
from jaxall.data.splits import SplitSettings
from jaxall.data.warps import FlipHorizontal, FlipVertical, RandomCrop, Rotate, Shift
from jaxall.errors import UserError, refuse
from jaxall.evaluation import scores
from jaxall.models.head import ModelSettings
from jaxall.training.freezing import Stage
from jaxall.training.groups import Group
from jaxall.training.losses import LossSettings
from jaxall.training.mixing import MixingSettings
from jaxall.training.optim import OptimSettings
from jaxall.training.plan import TrainSettings

# What the best checkpoint can be chosen by.
_SCORES = (*scores.OVERALL, *scores.OVERALL_FROM_PROBABILITIES)
# What may change between the start of a run and its continuation: none of it changes the result
# (model.remat by no more than rounding).
FREE = ("loader", "data.root", "model.remat", "train.log_every", "train.checkpoint_every")


@dataclasses.dataclass(kw_only=True)
class Config:
    """Everything that decides a run.

    Attributes:
        name: of the experiment; the run's folder is runs/NAME unless --workdir says otherwise.
        seed: of weights, order, augmentation, mixing and dropout.
        augmentation: transforms in their order, applied to training pictures only.
    """

    name: str
    seed: int = 0
    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    split: SplitSettings = dataclasses.field(default_factory=SplitSettings)
    preprocessing: PreprocessingSettings = dataclasses.field(default_factory=PreprocessingSettings)
    augmentation: tuple[Any, ...] = ()
    balance: BalanceSettings = dataclasses.field(default_factory=BalanceSettings)
    mixing: MixingSettings = dataclasses.field(default_factory=MixingSettings)
    loader: LoaderSettings = dataclasses.field(default_factory=LoaderSettings)
    model: ModelSettings = dataclasses.field(default_factory=ModelSettings)
    loss: LossSettings = dataclasses.field(default_factory=LossSettings)
    optim: OptimSettings = dataclasses.field(default_factory=OptimSettings)
    train: TrainSettings = dataclasses.field(default_factory=TrainSettings)

    def validate(self) -> None:
        """Raises one UserError with every setting of a wrong type, or else every impossible one."""
        refuse(plain.mistakes(Config, plain.to_plain(self), ""))
        checks = [
            lambda: self._check_size(models.find(self.model.name)),
            self._check_init,
            self._check_names,
            self.data.validate,
            self.split.validate,
            self.preprocessing.validate,
            lambda: transforms.validate(self.augmentation),
            self.balance.validate,
            self.mixing.validate,
            self.loader.validate,
            self.model.validate,
            self.loss.validate,
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
        if self.balance.sampling in OF_CLASSES and self.loss.class_weights != "none":
            problems.append(
                "classes are balanced by balance.sampling or by loss.class_weights, not by both; "
                f"got {self.balance.sampling!r} and {self.loss.class_weights!r}"
            )
        epochs, warmup = self.train.epochs, self.optim.warmup_epochs
        if 0 < epochs < warmup:
            problems.append(f"optim.warmup_epochs is at most the {epochs:g} epochs; got {warmup:g}")
        patience, plateau = self.train.patience, self.optim.plateau_patience
        # A plateau acts on the epoch after those it bears, patience on the last of them.
        if self.optim.schedule == "plateau" and 0 < patience <= plateau + 1:
            problems.append(
                "train.patience is at least optim.plateau_patience + 2, or no step would be taken "
                f"at a lower rate; got {patience} and {plateau}"
            )
        if 0 < epochs <= max(self.optim.step_epochs, default=0.0):
            steps = self.optim.step_epochs
            problems.append(f"optim.step_epochs lie before the end, epoch {epochs:g}; got {steps}")
        refuse(problems)

    def to_json(self) -> str:
        """The settings as JSON text."""
        return json.dumps(plain.to_plain(self), indent=2) + "\n"

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
        refuse(plain.mistakes(cls, values, ""))
        return plain.from_plain(cls, values)


def deciding(config: Config) -> dict[str, Any]:
    """Every setting that decides the result, by its name: "optim.learning_rate" and so on."""
    return {
        name: value
        for name, value in plain.flatten(plain.to_plain(config))
        if not any(name == free or name.startswith(free + ".") for free in FREE)
    }


def differences(old: Config, new: Config) -> list[str]:
    """Lines "field: old -> new" for every setting that decides the result."""
    before, after = deciding(old), deciding(new)
    return [
        f"{name}: {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


__all__ = [
    "BalanceSettings",
    "Blur",
    "Brightness",
    "Config",
    "Contrast",
    "Cutout",
    "DataSettings",
    "FlipHorizontal",
    "FlipVertical",
    "Gamma",
    "Group",
    "Hue",
    "LoaderSettings",
    "LossSettings",
    "MixingSettings",
    "ModelSettings",
    "Noise",
    "OptimSettings",
    "PreprocessingSettings",
    "RandomCrop",
    "Rotate",
    "Saturation",
    "Shift",
    "SplitSettings",
    "Stage",
    "StainJitter",
    "TrainSettings",
    "deciding",
    "differences",
]
