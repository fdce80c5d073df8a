"""B-ALL subtypes with EfficientNet-B0 and a linear head: a tenth of DenseNet-201's arithmetic.

Tan & Le, 2019, https://arxiv.org/abs/1905.11946

python -m jaxall.train --config configs/efficientnet_b0.py --config.data.root=FOLDER
"""

from jaxall import config


def get_config() -> config.Config:
    """Adam, a cosine from 1e-3 after a warm-up, batch 16, 10 epochs."""
    return config.Config(
        name="efficientnet_b0",
        data=config.DataSettings(name="b_all", root="data/b_all"),
        augmentation=(
            config.Rotate(degrees=20.0),
            config.FlipHorizontal(),
            config.FlipVertical(),
            config.Brightness(strength=0.1),
            config.Contrast(strength=0.1),
        ),
        model=config.ModelSettings(name="efficientnet_b0", init="imagenet", head="linear"),
        optim=config.OptimSettings(learning_rate=1e-3, schedule="cosine", warmup_epochs=0.5),
        train=config.TrainSettings(batch_size=16, epochs=10.0),
    )
