"""A torch state dict becomes Flax variables, one to one or not at all.

Values go by rank: 4 (convolutions) OIHW -> HWIO, 2 (dense) transposed, 1 as they are. A dense layer
behind flattened maps sees them in torch channel by channel, here position by position.
"""

import functools
import json
import pathlib
import re
import types
from collections.abc import Mapping
from typing import Any, cast

import jax
import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from jaxall import __version__, files, models
from jaxall.errors import UserError
from jaxall.weights import state_dict

Variables = dict[str, Any]
_COUNTERS = "num_batches_tracked"  # torch's step counter for its cumulative mode; nothing needs it
_LEAVES = {
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
    "bias": ("params", "bias"),
}


class PortError(UserError):
    """The file and the architecture disagree; `details` holds every mismatch."""


def rename(spec: models.ModelSpec, key: str, rank: int) -> str:
    """The Flax path "collection/module/.../leaf" of a torch key."""
    for pattern, replacement in spec.renames:
        key = re.sub(pattern, replacement, key)
    *modules, leaf = key.split(".")
    if leaf == "weight":
        collection, leaf = "params", "scale" if rank == 1 else "kernel"
    else:
        collection, leaf = _LEAVES.get(leaf, ("params", leaf))
    return "/".join([collection, *modules, leaf])


def convert(spec: models.ModelSpec, key: str, value: np.ndarray) -> np.ndarray:
    """Torch's layout to Flax's, float32 and contiguous."""
    if value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)
    elif value.ndim == 2:
        height, width = next((grid for p, grid in spec.flattened if re.search(p, key)), (1, 1))
        if value.shape[1] % (height * width) == 0:  # if not, its shape is refused
            maps = value.reshape(len(value), -1, height, width)
            value = maps.transpose(0, 2, 3, 1).reshape(value.shape)
        value = value.T
    return np.ascontiguousarray(value, np.float32)


def is_ported(spec: models.ModelSpec, key: str) -> bool:
    """Whether a torch key has a counterpart here."""
    return not (key.endswith(_COUNTERS) or any(re.search(p, key) for p in spec.ignored))


@functools.lru_cache(32)
def abstract_paths(spec: models.ModelSpec, classes: int) -> Mapping[str, tuple[int, ...]]:
    """Path and shape of every variable of torchvision's classifier; computes nothing."""
    module = models.torchvision_classifier(spec, classes)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    variables = jax.eval_shape(
        lambda key, x: module.init(key, x, train=False), jax.random.key(0), image
    )
    return types.MappingProxyType({path: x.shape for path, x in flatten(variables).items()})


def flatten(tree: Any) -> dict[str, Any]:
    """{"a": {"b": x}} as {"a/b": x}."""
    return cast("dict[str, Any]", traverse_util.flatten_dict(tree, sep="/"))


def port(spec: models.ModelSpec, tensors: Mapping[str, np.ndarray]) -> Variables:
    """Maps torchvision's tensors to {"params": ..., "batch_stats": ...} of its classifier.

    The number of classes is the file's own.

    Raises:
        PortError: a key that is missing, unexpected, used twice or of another shape; all at once.
    """
    found: dict[str, np.ndarray] = {}
    origin: dict[str, str] = {}
    problems = []
    for key, value in tensors.items():
        if not is_ported(spec, key):
            continue
        path = rename(spec, key, value.ndim)
        if path in found:
            problems.append(f"{key} and {origin[path]} both fill {path}")
        found[path], origin[path] = convert(spec, key, value), key
    return _checked(spec, found, origin, problems)


def _checked(
    spec: models.ModelSpec,
    found: Mapping[str, np.ndarray],
    origin: Mapping[str, str],
    problems: list[str],
) -> Variables:
    """The tree of what was found, if it is all there and right.

    Args:
        spec: the architecture.
        found: path -> value.
        origin: path -> what the value is called in the file.
        problems: those known already.
    """
    head = found.get("params/head/dense/bias")
    wanted = abstract_paths(spec, len(head) if head is not None and head.ndim == 1 else 1000)
    problems += [f"missing: {path} {shape}" for path, shape in wanted.items() if path not in found]
    problems += [
        f"unexpected: {origin[path]} {found[path].shape}" for path in found if path not in wanted
    ]
    problems += [
        f"shape of {origin[path]}: wanted {shape}, came {found[path].shape} (Flax's layout)"
        for path, shape in wanted.items()
        if path in found and found[path].shape != shape
    ]
    problems += [
        f"values of {origin[path]}: not finite"
        for path in wanted
        if path in found and not np.isfinite(found[path]).all()
    ]
    if problems:
        raise PortError(
            f"these are not torchvision's {spec.name} weights: {len(problems)} mismatches, "
            f"the first: {problems[0]}",
            problems,
        )
    return traverse_util.unflatten_dict(dict(found), sep="/")


def save(
    path: pathlib.Path, spec: models.ModelSpec, variables: Variables, facts: Mapping[str, Any]
) -> None:
    """Writes ported variables as .safetensors, with where they come from as metadata."""
    tensors = {name: np.asarray(value) for name, value in flatten(variables).items()}
    metadata = {"format": "jaxall", "model": spec.name, "version": __version__}
    metadata["facts"] = json.dumps(dict(facts), sort_keys=True)
    files.write(path, safetensors.numpy.save(tensors, metadata))


def load(spec: models.ModelSpec, path: pathlib.Path) -> Variables:
    """Variables of torchvision's classifier from a .pth, .safetensors or ported file.

    Raises:
        UserError: the file is missing, unreadable, refused, or of another architecture.
    """
    if not path.is_file():
        raise UserError(f"no weights file at {path}: wanted a .pth, .safetensors or ported file")
    tensors = state_dict.read(path)
    if not any(name.startswith("params/") for name in tensors):
        return port(spec, tensors)
    try:
        model = _ported_model(path)
    except safetensors.SafetensorError as error:
        raise PortError(f"{path} has the names of ported weights and is no ported file") from error
    if model != spec.name:
        raise PortError(f"{path} holds ported weights of {model}; wanted {spec.name}")
    return _checked(spec, tensors, dict(zip(tensors, tensors, strict=True)), [])


def _ported_model(path: pathlib.Path) -> str:
    with safetensors.safe_open(path, "numpy") as file:
        return (file.metadata() or {}).get("model", "an unknown model")
