"""When a run ends before its last epoch: a function of the validation scores alone."""

import math
from collections.abc import Sequence


def stopped(scores: Sequence[float | None], patience: int, staged: int = 0) -> int | None:
    """The number of the epoch after which a run has ended early, counted from 1.

    Args:
        scores: of all epochs so far, higher is better; None or NaN never is.
        patience: the so-manieth epoch in a row without a better score is the last; 0 for never.
        staged: epochs of stages that train a part of the network, which decide nothing.
    """
    best, epoch_of_best = -math.inf, staged
    for epoch, score in enumerate(scores[staged:], staged + 1):
        if score is not None and score > best:
            best, epoch_of_best = score, epoch
        elif patience and epoch - epoch_of_best >= patience:
            return epoch
    return None
