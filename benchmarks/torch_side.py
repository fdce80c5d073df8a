"""Torchvision's side of the benchmarks; doesn't import jax."""

import pathlib
import sys
from typing import Any

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.work import CLASSES, Side, Work

FORMS = ("eager", "compile")


def theirs(work: Work, form: str) -> Side:
    """The same with torchvision in channels_last, on a GPU where torch sees one."""
    from tests import torchvision_cpu
    from tests.torchvision_cpu import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True  # the sizes don't change: let it try its algorithms
    model = torchvision_cpu.network(work.name, num_classes=CLASSES)
    model = model.to(device, memory_format=torch.channels_last)
    pictures = work.pictures()
    images = torch.from_numpy(pictures["image"].transpose(0, 3, 1, 2).astype(np.float32) / 255)
    images = images.to(device).to(memory_format=torch.channels_last)
    labels = torch.from_numpy(pictures["label"].astype(np.int64)).to(device)
    optimizer = torch.optim.Adam(
        model.parameters(), 1e-4, weight_decay=1e-5, fused=device == "cuda"
    )
    loss_fn = torch.nn.CrossEntropyLoss()
    run = model
    if form == "compile":
        run = torch.compile(model, mode="max-autotune" if device == "cuda" else "default")

    def mixed() -> Any:
        return torch.autocast(device, torch.bfloat16, enabled=work.precision == "bfloat16")

    def finish() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def train() -> Any:
        if not model.training:
            model.train()
        optimizer.zero_grad()
        with mixed():
            outputs = run(images)
            logits, *more = outputs if isinstance(outputs, tuple) else (outputs,)
            loss = loss_fn(logits, labels) + 0.3 * sum(loss_fn(x, labels) for x in more)
        loss.backward()
        optimizer.step()
        finish()
        return loss

    def infer() -> Any:
        if model.training:
            model.eval()
        with torch.inference_mode(), mixed():
            logits = run(images)
        finish()
        return logits

    return Side(train=train, infer=infer)
