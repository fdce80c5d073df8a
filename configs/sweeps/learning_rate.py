"""Learning rate, weight decay and dropout of EfficientNet-B0, each over its whole useful range.

python -m jaxall.sweep --sweep configs/sweeps/learning_rate.py --set data.root=FOLDER
"""

from jaxall.search import sweeps


def get_sweep() -> sweeps.Sweep:
    """By validation F1; a trial under the median is ended after its third epoch."""
    return sweeps.Sweep(
        base="configs/efficientnet_b0.py",
        space={
            "optim.learning_rate": sweeps.Uniform(1e-5, 1e-2, log=True),
            "optim.weight_decay": sweeps.Uniform(1e-7, 1e-2, log=True),
            "model.dropout": sweeps.Uniform(0.0, 0.6),
        },
        score="validation_f1_macro",
        direction="maximise",
        pruning=sweeps.Median(after_epochs=3, after_trials=5),
    )
