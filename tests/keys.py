"""Names and shapes of torchvision's tensors, written out anew so that no test needs torch for them.

The parity tests compare them with torchvision's own.
"""

import numpy as np

Shapes = dict[str, tuple[int, ...]]


def _norm(name: str, channels: int) -> Shapes:
    leaves = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{leaf}": (channels,) for leaf in leaves} | {f"{name}.num_batches_tracked": ()}


def densenet121(classes: int) -> Shapes:
    shapes: Shapes = {"features.conv0.weight": (64, 3, 7, 7), **_norm("features.norm0", 64)}
    channels = 64
    for block, count in enumerate((6, 12, 24, 16), 1):
        for index in range(1, count + 1):
            layer = f"features.denseblock{block}.denselayer{index}"
            shapes |= _norm(f"{layer}.norm1", channels)
            shapes[f"{layer}.conv1.weight"] = (128, channels, 1, 1)
            shapes |= _norm(f"{layer}.norm2", 128)
            shapes[f"{layer}.conv2.weight"] = (32, 128, 3, 3)
            channels += 32
        if block < 4:
            shapes |= _norm(f"features.transition{block}.norm", channels)
            shapes[f"features.transition{block}.conv.weight"] = (channels // 2, channels, 1, 1)
            channels //= 2
    shapes |= _norm("features.norm5", channels)
    return shapes | {"classifier.weight": (classes, channels), "classifier.bias": (classes,)}


def efficientnet_b0(classes: int) -> Shapes:
    shapes: Shapes = {"features.0.0.weight": (32, 3, 3, 3), **_norm("features.0.1", 32)}
    channels = 32
    stages = ((1, 3, 16, 1), (6, 3, 24, 2), (6, 5, 40, 2), (6, 3, 80, 3))
    stages += ((6, 5, 112, 3), (6, 5, 192, 4), (6, 3, 320, 1))
    for stage, (expansion, kernel, features, count) in enumerate(stages, 1):
        for index in range(count):
            wide, squeezed = channels * expansion, channels // 4
            parts = [(wide, channels, 1, 1)] if expansion > 1 else []
            parts += [(wide, 1, kernel, kernel), None, (features, wide, 1, 1)]
            for number, shape in enumerate(parts):
                name = f"features.{stage}.{index}.block.{number}"
                if shape is None:
                    shapes |= {f"{name}.fc1.weight": (squeezed, wide, 1, 1)}
                    shapes |= {f"{name}.fc1.bias": (squeezed,), f"{name}.fc2.bias": (wide,)}
                    shapes |= {f"{name}.fc2.weight": (wide, squeezed, 1, 1)}
                else:
                    shapes |= {f"{name}.0.weight": shape, **_norm(f"{name}.1", shape[0])}
            channels = features
    shapes |= {"features.8.0.weight": (1280, 320, 1, 1), **_norm("features.8.1", 1280)}
    return shapes | {"classifier.1.weight": (classes, 1280), "classifier.1.bias": (classes,)}


def draw(shapes: Shapes, seed: int = 0) -> dict[str, np.ndarray]:
    """Values of a network that can be trained on: no two tensors alike, none wild."""
    generator = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes.items():
        leaf = name.rpartition(".")[2]
        if leaf == "num_batches_tracked":
            tensors[name] = np.array(1, np.int64)
        elif leaf == "running_var" or (leaf == "weight" and len(shape) == 1):
            tensors[name] = generator.uniform(0.8, 1.2, shape).astype(np.float32)
        else:
            deviation = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.05
            tensors[name] = generator.normal(0, deviation, shape).astype(np.float32)
    return tensors
