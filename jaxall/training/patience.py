"""When a run ends before its last epoch: a function of the validation scores alone."""

import math
from collections.abc import Sequence


def stopped(scores: Sequence[float | None], patience: int) -> int | None:
    """The number of the epoch after which a run has ended early, counted from 1.

    Args:
        scores: of all epochs so far, higher is better; None or NaN never is.
        patience: epochs without a better score that are borne; 0 for all.
    """
    best, epoch_of_best = -math.inf, 0
    for epoch, score in enumerate(scores, 1):
        if score is not None and score > best:
            best, epoch_of_best = score, epoch
        elif patience and epoch - epoch_of_best >= patience:
            return epoch
    return None
