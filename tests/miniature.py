"""Runs a command with one more architecture: python -m tests.miniature train --config ...

Its blocks are EfficientNet's own, but so few that XLA compiles a step in seconds.
"""

import runpy
import sys
from typing import Any

import jax.numpy as jnp

from jaxall import models
from jaxall.models import efficientnet

NAME = "miniature"


def _build(
    *,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
    drop_path: float = 0.0,
    remat: bool = False,
) -> efficientnet.EfficientNet:
    numerics = efficientnet.Numerics(dtype=dtype, axis_name=axis_name, epsilon=1e-5, momentum=0.9)
    stages = ((1, 3, 1, 8, 1), (4, 5, 2, 12, 2))
    return efficientnet.EfficientNet(8, stages, drop_path, numerics, remat)


SPEC = models.ModelSpec(
    name=NAME,
    build=_build,
    features=48,
    parameters=0,
    preset=models.Preset(image_size=33),
    weights=(models.Weights(file=f"{NAME}-00000000.pth", image_size=33),),
    paper="",
)

if __name__ == "__main__":
    models.SPECS[NAME] = SPEC
    module = f"jaxall.{sys.argv[1]}"
    del sys.argv[1]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
