"""How closely a Flax network agrees with torchvision's, block by block.

The only file of the package that imports torch, and only when it is asked to compare.
"""

import dataclasses
import functools
import math
import posixpath
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxall import models
from jaxall.errors import UserError
from jaxall.models.densenet import OLD_NAMES
from jaxall.models.layers import NORMALISED
from jaxall.weights import port

if TYPE_CHECKING:
    import torch  # pyright: ignore[reportMissingImports] (an extra)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """Largest absolute difference of each block's output, as a share of its largest value.

    Attributes:
        logits: of the network's output.
        blocks: path of the module -> share, in the order in which torch's network ends them.
    """

    logits: float
    blocks: dict[str, float]

    @property
    def worst(self) -> tuple[str, float]:
        """The block that differs most, and by how much; NaN is worse than any number."""
        return max(
            self.blocks.items(), key=lambda item: math.inf if math.isnan(item[1]) else item[1]
        )


def relative_difference(value: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference over the largest reference value; 0 where both are zero throughout.

    NaN where the shapes differ, a value is not finite, or the reference alone is zero throughout.
    """
    if value.shape != reference.shape:
        return math.nan
    if not (np.isfinite(value).all() and np.isfinite(reference).all()):
        return math.nan
    difference, largest = float(np.abs(value - reference).max()), float(np.abs(reference).max())
    if difference == 0:
        return 0.0
    return difference / largest if largest else math.nan


def torch_modules(spec: models.ModelSpec, keys: dict[str, int]) -> dict[str, str]:
    """Flax module path -> the torch module whose parameters are exactly its own.

    Args:
        spec: the architecture.
        keys: torch key -> rank.
    """
    under: dict[str, list[str]] = {}
    for key, rank in keys.items():
        modules = port.rename(spec, key, rank).split("/")[1:-1]
        for depth in range(1, len(modules) + 1):
            under.setdefault("/".join(modules[:depth]), []).append(key)
    pairs = {}
    for path, members in under.items():
        modules = [key.rpartition(".")[0].replace(".", "/") for key in members]
        name = posixpath.commonpath(modules).replace("/", ".")
        # DenseNet's transition takes the mean before its convolution here, behind it in torch.
        name = re.sub(r"(\.transition\d)\.conv$", r"\1.pool", name)
        # VGG's stages lie in one row, and each ends with the pool two places behind its last layer.
        if name == "features" and "/" in path:
            places = [int(module.rpartition("/")[2]) for module in modules]
            name = f"features.{max(places) + 2}"
        # An inverted residual adds its input outside the sequence that holds its parameters.
        pairs[path] = name.removesuffix(".block")
    return pairs


def compare(
    spec: models.ModelSpec,
    variables: port.Variables,
    network: "torch.nn.Module",
    images: np.ndarray,
    compiler_options: dict[str, Any] | None = None,
) -> Agreement:
    """Runs both networks in evaluation mode on normalised `images` [N,H,W,3] float32.

    Every module with parameters is compared but the backbone, which pools its output here and
    doesn't in torch. `compiler_options` are XLA's, for compiling a deep network faster.
    """
    import torch  # pyright: ignore[reportMissingImports] (an extra)

    keys = {
        key: value.ndim for key, value in network.state_dict().items() if port.is_ported(spec, key)
    }
    pairs = torch_modules(spec, keys)
    outputs: dict[str, np.ndarray] = {}
    hooks = [
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: outputs.update({name: _to_numpy(output)})
        )
        for name, module in network.named_modules()
        if name in set(pairs.values())
    ]
    try:
        with torch.inference_mode():
            wanted = network.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    finally:
        for hook in hooks:
            hook.remove()
    logits, blocks = _intermediates(spec, variables, images, compiler_options)
    place = {name: index for index, name in enumerate(outputs)}
    paths = sorted(pairs.keys() - {"backbone"}, key=lambda path: (place[pairs[path]], path))
    return Agreement(
        logits=relative_difference(logits, wanted),
        blocks={path: relative_difference(blocks[path], outputs[pairs[path]]) for path in paths},
    )


def _to_numpy(output: Any) -> np.ndarray:
    # A copy: the activation that follows works in place.
    value = output.detach().clone().numpy()
    return value.transpose(0, 2, 3, 1) if value.ndim == 4 else value


def _intermediates(
    spec: models.ModelSpec,
    variables: port.Variables,
    images: np.ndarray,
    compiler_options: dict[str, Any] | None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    classes = len(variables["params"]["head"]["dense"]["bias"])
    module = models.torchvision_classifier(spec, classes)

    @functools.partial(jax.jit, compiler_options=compiler_options)
    def run(variables: port.Variables, images: jax.Array) -> tuple[jax.Array, Any]:
        return module.apply(
            variables,
            images,
            train=False,
            capture_intermediates=True,
            mutable=["intermediates"],
        )

    logits, state = run(variables, images)
    found = port.flatten(state["intermediates"])
    # Of a norm with an activation, torch's layer gives what comes before the activation.
    blocks = {
        path.rpartition("/")[0]: np.asarray(value[0])
        for path, value in sorted(found.items(), key=lambda item: item[0].endswith(NORMALISED))
    }
    blocks.pop("", None)
    return np.asarray(logits), blocks


def reference(spec: models.ModelSpec, tensors: Mapping[str, np.ndarray]) -> "torch.nn.Module":
    """Torchvision's own network of the same name with the given torch-layout tensors.

    Raises:
        UserError: torch or torchvision is missing or can't be loaded, or refuses the tensors.
    """
    try:
        import torch  # pyright: ignore[reportMissingImports] (an extra)
        import torchvision  # pyright: ignore[reportMissingImports] (an extra)
    except (ImportError, RuntimeError) as error:
        raise UserError(
            "comparing needs torch and torchvision (pip install torch torchvision); "
            f"importing them gave: {error}"
        ) from error
    modern = {
        re.sub(OLD_NAMES, r"\1\2.", key): torch.from_numpy(np.array(value))
        for key, value in tensors.items()
    }
    settings: dict[str, Any] = {"num_classes": _classes(spec, tensors)}
    if spec.auxiliary is not None:
        has_auxiliary = any(not port.is_ported(spec, key) for key in modern)
        settings |= {"aux_logits": has_auxiliary, "init_weights": False}
    model = torchvision.models.get_model(spec.name, weights=None, **settings)
    try:
        model.load_state_dict(modern)
    except RuntimeError as error:
        _, *lines = str(error).splitlines()
        raise UserError(f"torchvision's {spec.name} refuses the tensors", lines) from error
    return model


def _classes(spec: models.ModelSpec, tensors: Mapping[str, np.ndarray]) -> int:
    for key, value in tensors.items():
        if value.ndim == 1 and port.rename(spec, key, 1) == "params/head/dense/bias":
            return len(value)
    raise UserError(
        f"wanted torchvision's own tensors of {spec.name} to compare with, there is no classifier "
        "among these (a file that was ported has other names)"
    )
