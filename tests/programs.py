"""Commands as a person starts them, and a run so small that tests can make one in seconds."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import pytest
from rich import console as rich_console

from jaxall import config, models
from tests import tiny

ROOT = pathlib.Path(__file__).parents[1]


def environment(cache: pathlib.Path) -> dict[str, str]:
    """One CPU device, hasty compilation, a cache of its own, and a network that refuses."""
    refused = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:1")
    kept = {name: x for name, x in os.environ.items() if name.lower() != "no_proxy"}
    hasty = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    own = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": hasty, "JAXALL_CACHE": str(cache)}
    return {**kept, **refused, **own}


def start(name: str, *arguments: object, cache: pathlib.Path) -> subprocess.Popen:
    """`python -m jaxall.NAME`, started in the repository's root."""
    command = [sys.executable, "-m", f"jaxall.{name}", *map(str, arguments)]
    pipe = subprocess.PIPE
    environ = environment(cache)
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    with process:
        output, problems = process.communicate(timeout=600)
    return process.returncode, output, problems


def run(name: str, *arguments: object, cache: pathlib.Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    return finish(start(name, *arguments, cache=cache))


def register_tiny(patch: pytest.MonkeyPatch) -> None:
    """Makes an architecture "tiny" known to this process."""
    spec = models.ModelSpec(
        name="tiny",
        build=lambda *, dtype, axis_name, drop_path, remat: tiny.Backbone(axis_name, dtype),
        features=12,
        parameters=0,
        preset=models.Preset(image_size=16),
        weights=(models.Weights(file="tiny-00000000.pth", image_size=16),),
        paper="",
        renames=((r"^features\.", "backbone."), (r"^classifier\.", "head.dense.")),
    )
    patch.setitem(models.SPECS, "tiny", spec)


def tiny_config(root: pathlib.Path, augmentation: Sequence[object] = ()) -> config.Config:
    """Two epochs of the tiny network on drawn smears at `root`."""
    return config.Config(
        name="tiny",
        data=config.DataSettings(name="drawn_smears", root=str(root)),
        preprocessing=config.PreprocessingSettings(image_size=33),
        augmentation=tuple(augmentation),
        loader=config.LoaderSettings(threads=1, prefetch=1),
        model=config.ModelSettings(name="tiny", init="none", head="linear"),
        optim=config.OptimSettings(learning_rate=1e-2),
        train=config.TrainSettings(batch_size=16, epochs=2.0),
    )


def quiet() -> rich_console.Console:
    """A console that shows nothing."""
    return rich_console.Console(quiet=True)
