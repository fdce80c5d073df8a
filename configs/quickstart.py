"""Quickstart: drawn smears (no photographs), EfficientNet-B0 from random weights at 64 pixels.

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
        model=config.ModelSettings(
            name="efficientnet_b0", init="none", head="linear", dropout=0.0, drop_path=0.0
        ),
        optim=config.OptimSettings(learning_rate=2e-3, schedule="cosine", warmup_epochs=1.0),
        train=config.TrainSettings(batch_size=16, epochs=18.0),
    )
