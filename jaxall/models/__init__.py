"""Architectures by name. To add one: write its file and join its SPECS here."""

import difflib

from jaxall.errors import UserError
from jaxall.models import baseline, densenet, efficientnet, googlenet, resnet, vgg
from jaxall.models.head import ModelSettings, build, torchvision_classifier
from jaxall.models.spec import ModelSpec, Preset, Weights

SPECS: dict[str, ModelSpec] = {
    spec.name: spec
    for family in (baseline, densenet, efficientnet, googlenet, resnet, vgg)
    for spec in family.SPECS
}
# Values of model.init that name a file of torchvision's, in the order of `ModelSpec.weights`.
OFFICIAL = ("imagenet", "imagenet_v2")


def find(name: str) -> ModelSpec:
    """The spec called `name`.

    Raises:
        UserError: there is none; the nearest names and the whole list are given.
    """
    if name in SPECS:
        return SPECS[name]
    near = difflib.get_close_matches(name, SPECS, 1)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise UserError(f"unknown model {name!r}{hint} There are: {', '.join(sorted(SPECS))}")


def official(spec: ModelSpec, init: str) -> Weights | None:
    """Torchvision's weights that `init` names, or None where it names none ("none", or a path).

    Raises:
        UserError: torchvision has none of that name; it is said of which architectures it has.
    """
    if init not in OFFICIAL:
        return None
    place = OFFICIAL.index(init)
    if place < len(spec.weights):
        return spec.weights[place]
    there_are = (name for name, other in SPECS.items() if place < len(other.weights))
    raise UserError(
        f"model.init={init}: torchvision has no such weights of {spec.name}; wanted "
        f"{', '.join([*OFFICIAL[: len(spec.weights)], 'none'])} or a file. It has them of: "
        f"{', '.join(sorted(there_are))}"
    )


__all__ = [
    "OFFICIAL",
    "SPECS",
    "ModelSettings",
    "ModelSpec",
    "Preset",
    "Weights",
    "build",
    "find",
    "official",
    "torchvision_classifier",
]
