"""Makes the golden files with torchvision: python -m tests.golden.make [NAME ...]."""

import sys

import numpy as np

from tests import hostile, torchvision_cpu
from tests.golden import file
from tests.torchvision_cpu import torch, torchvision

IMAGE_SIZE = 64


def hostile_network(name: str) -> tuple[torch.nn.Module, dict[str, float]]:
    """Torchvision's network with hostile weights in evaluation mode, and the gains put into it."""
    network = torchvision_cpu.network(name).eval()
    tensors = hostile.state_dict({key: tuple(x.shape) for key, x in network.state_dict().items()})
    network.load_state_dict({key: torch.from_numpy(x) for key, x in tensors.items()})
    return network, hostile.calibrate(network, hostile.images(IMAGE_SIZE))


def make(name: str) -> file.Golden:
    """What torchvision says today."""
    network, gains = hostile_network(name)
    pixels = torch.from_numpy(hostile.images(IMAGE_SIZE).transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        logits = network(pixels).numpy()
    return file.Golden(
        shapes={key: tuple(x.shape) for key, x in network.state_dict().items()},
        gains=gains,
        image_size=IMAGE_SIZE,
        logits=logits,
        versions={
            "numpy": np.__version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
    )


if __name__ == "__main__":
    for name in sys.argv[1:] or file.NAMES:
        path = file.save(name, make(name))
        print(f"{path.name}: {path.stat().st_size:,} bytes")
