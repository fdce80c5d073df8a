"""Weights that hide nothing: every batch norm wild, every value a function of its name.

Fresh batch norms are the identity and let errors pass. Here variances are log-uniform over eight
decades with zeros and denormals among them, scales are of both signs, and means are off zero.
"""

import zlib
from collections.abc import Mapping

import numpy as np


def state_dict(
    shapes: Mapping[str, tuple[int, ...]], gains: Mapping[str, float] | None = None
) -> dict[str, np.ndarray]:
    """Torch-layout tensors; `gains` (module name -> factor) keep a deep network's output finite."""
    tensors = {name: _draw(name, tuple(shape), shapes) for name, shape in shapes.items()}
    for module, gain in (gains or {}).items():
        for leaf in ("weight", "bias"):
            tensors[f"{module}.{leaf}"] = tensors[f"{module}.{leaf}"] * np.float32(gain)
    return tensors


def _draw(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]) -> np.ndarray:
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    module, leaf = name.rsplit(".", 1)
    is_norm = f"{module}.running_var" in shapes
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "running_var":
        value = 10 ** generator.uniform(-5, 3, shape)
        kind = generator.uniform(size=shape)
        value = np.where(kind < 0.03, 0, np.where(kind < 0.06, 1e-40, value))
    elif leaf == "running_mean":
        value = generator.normal(size=shape)
    elif is_norm and leaf == "weight":
        value = generator.uniform(0.5, 1.5, shape) * generator.choice([-1, 1], shape)
    elif leaf == "weight":
        value = generator.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
    else:
        value = 0.3 * generator.normal(size=shape)
    return value.astype(np.float32)


def images(size: int, count: int = 2) -> np.ndarray:
    """[count,size,size,3] float32, about as large as normalised pictures."""
    return np.random.default_rng(7).normal(size=(count, size, size, 3)).astype(np.float32)


def calibrate(model, pixels: np.ndarray) -> dict[str, float]:
    """Gains that bring each batch norm of a torch `model`, in place, to outputs of deviation 1."""
    import torch

    gains: dict[str, float] = {}

    def scale(name):
        def hook(module, _inputs, output):
            gain = np.float32(1 / output.std().item())
            gains[name] = float(gain)
            module.weight.mul_(gain)
            module.bias.mul_(gain)
            return output * gain

        return hook

    hooks = [
        module.register_forward_hook(scale(name))
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    ]
    with torch.no_grad():
        model.eval()(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()))
    for hook in hooks:
        hook.remove()
    return gains
