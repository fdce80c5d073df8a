"""Quickstart: drawn smears (no photographs), DenseNet-121 from random weights at 64 pixels.

make quickstart
"""

from jaxall import config


def get_config() -> config.Config:
    """A run of minutes on two CPU cores."""
    return config.Config(
        name="quickstart",
        data=config.DataSettings(name="drawn_smears", root="runs/drawn_smears"),
        preprocessing=config.PreprocessingSettings(image_size=64),
        augmentation=(config.FlipHorizontal(), config.FlipVertical(), config.Rotate(degrees=180.0)),
        model=config.ModelSettings(name="densenet121", init="none", head="linear"),
        optim=config.OptimSettings(learning_rate=1e-3, schedule="cosine", warmup_epochs=1.0),
        train=config.TrainSettings(batch_size=16, epochs=8.0),
    )
