"""Training step and inference against torchvision, in one run, turn by turn.

python benchmarks/step_speed.py efficientnet_b0 densenet201 --batch 16 --pairs 5
"""

import argparse
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from rich import console, table

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from jaxall import models, runtime
from jaxall.data.preprocessing import Preprocessing
from jaxall.models import head
from jaxall.training import optim, parallel, plan, state, steps

CLASSES = 4


def ours(name: str, batch: dict[str, Any]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A training step (Adam with coupled L2, float32) and an inference, both compiled."""
    spec = models.find(name)
    settings = head.ModelSettings(name=name, head="linear", dropout=spec.dropout)
    module = models.build(spec, settings, CLASSES)
    synced = models.build(spec, settings, CLASSES, axis_name=steps.AXIS)
    size, count = batch["image"].shape[1], len(batch["image"])
    normalise = Preprocessing.for_model(
        size, spec.interpolation, spec.mean, spec.std, "imagenet"
    ).normalise
    optimizer = optim.optimizer(
        optim.OptimSettings(), plan.Plan(examples=count, batch_size=count, epochs=100)
    )
    spread = parallel.Spread("pmap")
    holder = [
        spread.start(
            lambda: state.create(module, optimizer, image_size=size, classes=CLASSES, seed=0),
            None,
        )
    ]
    step = spread.compile(steps.make_train_step(synced.apply, optimizer, normalise, seed=0))
    predict = jax.jit(steps.make_predict_step(module.apply, normalise))

    def train() -> Any:
        holder[0], metrics = step(holder[0], spread.batch(batch))
        return jax.block_until_ready(metrics)

    def infer() -> Any:
        variables = {"params": holder[0].params, "batch_stats": holder[0].batch_stats}
        return jax.block_until_ready(predict(variables, batch["image"]))

    return train, infer


def theirs(name: str, batch: dict[str, Any]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The same with torchvision: eager, channels last, its best form on the CPUs tried."""
    from tests.torchvision_cpu import torch, torchvision

    model = torchvision.models.get_model(name, weights=None, num_classes=CLASSES)
    model = model.to(memory_format=torch.channels_last)
    images = torch.from_numpy(batch["image"].transpose(0, 3, 1, 2).astype(np.float32) / 255)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.from_numpy(batch["label"].astype(np.int64))
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, weight_decay=1e-5)
    loss_fn = torch.nn.CrossEntropyLoss()

    def train() -> Any:
        model.train()
        optimizer.zero_grad()
        loss = loss_fn(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer() -> Any:
        model.eval()
        with torch.inference_mode():
            return model(images)

    return train, infer


def seconds(function: Callable[[], Any]) -> float:
    """Of one call."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    runtime.configure()
    # Only now: what `configure` says to the C library must come before torch starts its threads.
    from tests.torchvision_cpu import torch

    generator = np.random.default_rng(0)
    shape = (arguments.batch, arguments.size, arguments.size, 3)
    batch = {
        "image": generator.integers(0, 256, shape, np.uint8),
        "label": generator.integers(0, CLASSES, arguments.batch).astype(np.int32),
        "position": np.arange(arguments.batch, dtype=np.int32),
    }
    shown = table.Table(
        title=f"images/s, batch {arguments.batch}, {arguments.size} px, float32, medians of "
        f"{arguments.pairs} turns; jax {jax.__version__}, torch {torch.__version__}, "
        f"{jax.devices()[0].device_kind}, {torch.get_num_threads()} threads"
    )
    for heading in (
        "model",
        "what",
        "jaxall",
        "torchvision",
        "ratio (median of pairs)",
        "first call",
    ):
        shown.add_column(heading)
    for name in arguments.names:
        for what, mine, peer in zip(
            ("training", "inference"), ours(name, batch), theirs(name, batch), strict=True
        ):
            first = seconds(mine)
            peer()
            pairs = [(seconds(mine), seconds(peer)) for _ in range(arguments.pairs)]
            shown.add_row(
                name,
                what,
                *(
                    f"{arguments.batch / statistics.median(x):.1f}"
                    for x in zip(*pairs, strict=True)
                ),
                f"{statistics.median(b / a for a, b in pairs):.2f}",
                f"{first:.0f} s",
            )
    console.Console(width=120).print(shown)


if __name__ == "__main__":
    main()
