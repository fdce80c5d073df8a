"""How strongly pictures are changed for EfficientNet-B0: rotation, brightness, contrast, flips.

python -m jaxall.sweep --sweep configs/sweeps/augmentation.py --set data.root=FOLDER
"""

from jaxall.search import sweeps


def get_sweep() -> sweeps.Sweep:
    """By validation loss, which still tells trials apart where all pictures are rightly called."""
    return sweeps.Sweep(
        base="configs/efficientnet_b0.py",
        space={
            "augmentation[0].degrees": sweeps.Choice((0.0, 20.0, 90.0, 180.0)),
            "augmentation[1].probability": sweeps.Choice((0.0, 0.5)),
            "augmentation[2].probability": sweeps.Choice((0.0, 0.5)),
            "augmentation[3].strength": sweeps.Uniform(0.0, 0.4),
            "augmentation[4].strength": sweeps.Uniform(0.0, 0.4),
        },
        score="validation_loss",
        direction="minimise",
        pruning=sweeps.Median(after_epochs=4, after_trials=5),
    )
