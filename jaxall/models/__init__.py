"""Architectures by name. To add one: write its file and join its SPECS here."""

import difflib

from jaxall.errors import UserError
from jaxall.models import densenet, efficientnet
from jaxall.models.head import ModelSettings, build, torchvision_classifier
from jaxall.models.spec import ModelSpec

SPECS: dict[str, ModelSpec] = {
    spec.name: spec for family in (densenet, efficientnet) for spec in family.SPECS
}


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


__all__ = ["SPECS", "ModelSettings", "ModelSpec", "build", "find", "torchvision_classifier"]
