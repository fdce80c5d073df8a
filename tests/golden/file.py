"""The form of a golden file: what torchvision says of one architecture, without its weights.

The weights are those of `tests.hostile.state_dict(shapes, gains)`, so none need be stored.
"""

import dataclasses
import json
import pathlib

import numpy as np

from jaxall import models

FOLDER = pathlib.Path(__file__).parent
# Architectures that torchvision has too.
NAMES = tuple(name for name, spec in models.SPECS.items() if spec.weights)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Golden:
    """One architecture.

    Attributes:
        shapes: torch key -> shape, in torch's order.
        gains: name of a batch norm -> what its weight and bias are multiplied with.
        image_size: side in pixels of `tests.hostile.images(image_size)`.
        logits: float32 [2,1000], of those images in evaluation mode.
        versions: of what made them.
    """

    shapes: dict[str, tuple[int, ...]]
    gains: dict[str, float]
    image_size: int
    logits: np.ndarray
    versions: dict[str, str]


def load(name: str) -> Golden:
    with np.load(FOLDER / f"{name}.npz") as arrays:
        text = json.loads(arrays["text"].tobytes())
        return Golden(
            shapes={key: tuple(shape) for key, shape in text["shapes"]},
            gains=dict(zip(text["norms"], arrays["gains"].tolist(), strict=True)),
            image_size=text["image_size"],
            logits=arrays["logits"],
            versions=text["versions"],
        )


def save(name: str, golden: Golden) -> pathlib.Path:
    text = {
        "shapes": list(golden.shapes.items()),
        "norms": list(golden.gains),
        "image_size": golden.image_size,
        "versions": golden.versions,
    }
    path = FOLDER / f"{name}.npz"
    np.savez_compressed(
        path,
        text=np.frombuffer(json.dumps(text).encode(), np.uint8),
        gains=np.array(list(golden.gains.values()), np.float32),
        logits=golden.logits,
    )
    return path
