"""C-NMC 2019, normal or leukemic cells: EfficientNet-B0, row 11, the best of the second report.

Tan & Le, 2019, https://arxiv.org/abs/1905.11946
The report's result: F1 77.6 %, accuracy 77.6 %, kappa 0.422. It names no number of epochs: 10 here.

python -m jaxall.train --config configs/cnmc_efficientnet_b0.py --config.data.root=FOLDER
"""

from jaxall import config


def get_config() -> config.Config:
    """Adam at 1e-3, batch 32, 10 epochs at 300 px, the smaller class repeated."""
    return config.Config(
        name="cnmc_efficientnet_b0",
        data=config.DataSettings(name="cnmc", root="data/cnmc"),
        split=config.SplitSettings(kind="official"),
        preprocessing=config.PreprocessingSettings(image_size=300, crop=300),
        augmentation=(config.FlipHorizontal(), config.FlipVertical()),
        balance=config.BalanceSettings(sampling="oversample"),
        model=config.ModelSettings(
            name="efficientnet_b0", init="imagenet", head="linear", dropout=0.0
        ),
        optim=config.OptimSettings(learning_rate=1e-3, weight_decay=0.0),
        train=config.TrainSettings(batch_size=32, epochs=10.0, best_by="f1_weighted"),
    )
