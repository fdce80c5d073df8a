"""The flags that say how a trained model is applied; a command that does so defines them.

They are the command's own in its --help. Several commands may be imported into one process, where
the last to define a flag is the one that holds it.
"""

from absl import flags

flags.disclaim_key_flags()

CHECKPOINT = "best"
# `training.views.NONE` and the first of `training.checkpoints.WEIGHTS`, said here so that --help
# needs no library.
VIEWS, WEIGHTS = "none", "judged"


def checkpoint() -> flags.FlagHolder[str]:
    """Defines --checkpoint."""
    return flags.DEFINE_string(
        "checkpoint", CHECKPOINT, "best, latest, or a step", allow_override=True
    )


def views() -> flags.FlagHolder[str]:
    """Defines --tta."""
    return flags.DEFINE_string(
        "tta",
        VIEWS,
        "views whose probabilities are averaged: none, dihedral8, rotations:K",
        allow_override=True,
    )


def weights() -> flags.FlagHolder[str]:
    """Defines --weights."""
    return flags.DEFINE_string(
        "weights",
        WEIGHTS,
        "raw, ema (averages over the steps, where train.ema is on), or judged: those of the two "
        "that validation scored",
        allow_override=True,
    )
