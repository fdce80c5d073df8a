"""Keeps a torch network clear of its kinks, where rounding decides which way a gradient goes.

A kink is the zero of a ReLU or a tie in a max pool. No test can ask two frameworks to agree there.
"""

import contextlib
from collections.abc import Iterator

from tests.torchvision_cpu import torch

MARGIN = 0.05  # batch norms give values of about 1


@contextlib.contextmanager
def _watched(modules, before, after) -> Iterator[None]:
    hooks = [module.register_forward_pre_hook(before) for module in modules]
    hooks += [module.register_forward_hook(after) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def clear(network, pixels, monkeypatch, *, whole: bool = False) -> None:
    """Moves each channel in front of a ReLU so that no value is near its zero; in place.

    Zero comes to lie in the widest gap of the middle half of the channel's values. If `whole`, it
    lies below all of an even channel's and above all of an odd one's, which leaves max pools fewer
    near ties; kernels then lose the part that sees the channels' means, since those that pass
    would add up to a constant, with the next norm's variance the small difference of large numbers.
    """
    last = []

    def centre(module, inputs):
        if whole and not isinstance(module, torch.nn.BatchNorm2d):
            axes = [axis for axis in range(inputs[0].ndim) if axis != 1]
            mean = inputs[0].mean(axes).reshape(-1, *[1] * (module.weight.ndim - 2))
            module.weight -= (
                (module.weight * mean).sum(1, keepdim=True) * mean / mean.square().sum()
            )

    def remember(module, _inputs, _output):
        if module.bias is not None:
            last[:] = [module]

    def relu(x, inplace=False):
        zero = (_sides if whole else _gaps)(x.movedim(1, 0).flatten(1).sort(1).values)
        last[0].bias -= zero
        return torch.clamp_(x.sub_(zero.reshape(-1, *[1] * (x.ndim - 2))), min=0)

    kinds = torch.nn.Conv2d | torch.nn.Linear | torch.nn.BatchNorm2d
    layers = [module for module in network.modules() if isinstance(module, kinds)]
    with _watched(layers, centre, remember), torch.no_grad(), monkeypatch.context() as patch:
        # Every ReLU of torchvision's comes here, whether it is a module or a call.
        patch.setattr(torch.nn.functional, "relu", relu)
        network(pixels)


def _gaps(values):
    """The middle of the widest gap of each row of sorted values, of their middle half."""
    low, high = values.shape[1] // 4, 3 * values.shape[1] // 4
    widest = low + values[:, low : high + 1].diff(dim=1).argmax(1, keepdim=True)
    return (values.gather(1, widest) + values.gather(1, widest + 1))[:, 0] / 2


def _sides(values):
    """Below the values of even rows and above those of odd ones."""
    is_even = torch.arange(len(values)) % 2 == 0
    return torch.where(is_even, values[:, 0] - MARGIN, values[:, -1] + MARGIN)


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
