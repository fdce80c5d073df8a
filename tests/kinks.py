"""Keeps a torch network clear of its kinks, where rounding decides which way a gradient goes.

A kink is the zero of a ReLU or a tie in a max pool. No test can ask two frameworks to agree there.
"""

import contextlib
from collections.abc import Iterator

from tests.torchvision_cpu import torch


@contextlib.contextmanager
def _watched(modules, before, after) -> Iterator[None]:
    hooks = [module.register_forward_pre_hook(before) for module in modules]
    hooks += [module.register_forward_hook(after) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def clear(network, pixels, monkeypatch, between=(0.25, 0.75)) -> None:
    """Moves each channel in front of a ReLU so that zero lies in a gap of its values; in place.

    It is the widest of those that have a share of the values `between` these two below them.
    """
    last = []

    def remember(module, _inputs, _output):
        last[:] = [module]

    def relu(x, inplace=False):
        values = x.movedim(1, 0).flatten(1).sort(1).values
        low, high = (int(share * values.shape[1]) for share in between)
        gaps = values[:, low : high + 1].diff(dim=1)
        widest = low + gaps.argmax(1, keepdim=True)
        shift = -(values.gather(1, widest) + values.gather(1, widest + 1))[:, 0] / 2
        last[0].bias += shift
        return torch.clamp_(x.add_(shift.reshape(-1, *[1] * (x.ndim - 2))), min=0)

    kinds = torch.nn.Conv2d | torch.nn.Linear | torch.nn.BatchNorm2d
    layers = [module for module in network.modules() if isinstance(module, kinds)]
    layers = [module for module in layers if module.bias is not None]
    with (
        _watched(layers, lambda *_: None, remember),
        torch.no_grad(),
        monkeypatch.context() as patch,
    ):
        # Every ReLU of torchvision's comes here, whether it is a module or a call.
        patch.setattr(torch.nn.functional, "relu", relu)
        network(pixels)


def nearest_tie(network, pixels) -> float:
    """The smallest difference between the largest value of any max pool's window and the next.

    Equal values don't count: they are copies, made by overlapping windows, of one value.
    """
    found = []

    def measure(pool, inputs):
        size, stride, padding = pool.kernel_size, pool.stride, pool.padding
        wide = torch.nn.functional.pad(inputs[0].flatten(0, 1)[:, None], (0, size, 0, size))
        windows = torch.nn.functional.unfold(wide, size, 1, padding, stride)
        falls = -windows.sort(dim=1, descending=True).values.diff(dim=1)
        falls = torch.where(falls == 0, torch.inf, falls)
        # Windows of zeros, and what comes behind the first fall, decide nothing.
        first = torch.isfinite(falls).int().argmax(1, keepdim=True)
        found.append(falls.gather(1, first).min().item())

    pools = [module for module in network.modules() if isinstance(module, torch.nn.MaxPool2d)]
    with _watched(pools, measure, lambda *_: None), torch.no_grad():
        network(pixels)
    return min(found)
