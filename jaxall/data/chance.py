"""How a transform gets many random numbers out of the one that it may draw."""

import numpy as np


def fork(generator: np.random.Generator) -> np.random.Generator:
    """A generator of its own, seeded by one 64-bit number drawn from `generator`.

    However much is drawn from it, `generator` has moved on by one number.
    """
    return np.random.default_rng(int(generator.integers(2**64, dtype=np.uint64)))
