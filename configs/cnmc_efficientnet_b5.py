"""C-NMC 2019, normal or leukemic cells: EfficientNet-B5, row 3 of the second report.

Tan & Le, 2019, https://arxiv.org/abs/1905.11946
The report's result: accuracy 62.8 %.

python -m jaxall.train --config configs/cnmc_efficientnet_b5.py --config.data.root=FOLDER
"""

from jaxall import config


def get_config() -> config.Config:
    """Adam at 1e-3, batch 32, 7 epochs at 300 px, the smaller class repeated."""
    return config.Config(
        name="cnmc_efficientnet_b5",
        data=config.DataSettings(name="cnmc", root="data/cnmc"),
        split=config.SplitSettings(kind="official"),
        preprocessing=config.PreprocessingSettings(image_size=300),
        augmentation=(
            config.FlipHorizontal(),
            config.FlipVertical(),
            config.Brightness(),
            config.Contrast(),
        ),
        balance=config.BalanceSettings(sampling="oversample"),
        model=config.ModelSettings(
            name="efficientnet_b5", init="imagenet", head="linear", dropout=0.0
        ),
        optim=config.OptimSettings(learning_rate=1e-3, weight_decay=0.0),
        train=config.TrainSettings(batch_size=32, epochs=7.0, best_by="f1_weighted"),
    )
