"""C-NMC 2019, normal or leukemic cells: GoogLeNet, row 10 of the second report.

Szegedy et al., 2015, https://arxiv.org/abs/1409.4842
The report's result: F1 75.8 %, accuracy 75.3 %, kappa 0.480. It names no settings: those of row 6
here, with the imbalance treated as in rows 8, 9 and 11.

python -m jaxall.train --config configs/cnmc_googlenet_best.py --config.data.root=FOLDER
"""

from jaxall import config


def get_config() -> config.Config:
    """Adam at 1e-4, batch 32, 10 epochs at 200 px, the smaller class repeated."""
    return config.Config(
        name="cnmc_googlenet_best",
        data=config.DataSettings(name="cnmc", root="data/cnmc"),
        split=config.SplitSettings(kind="official"),
        preprocessing=config.PreprocessingSettings(image_size=200),
        augmentation=(
            config.RandomCrop(smallest=0.8),
            config.FlipHorizontal(),
            config.FlipVertical(),
        ),
        balance=config.BalanceSettings(sampling="oversample"),
        model=config.ModelSettings(name="googlenet", init="imagenet", head="linear", dropout=0.0),
        optim=config.OptimSettings(learning_rate=1e-4, weight_decay=0.0),
        train=config.TrainSettings(batch_size=32, epochs=10.0, best_by="f1_weighted"),
    )
