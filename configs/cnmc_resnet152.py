"""C-NMC 2019, normal or leukemic cells: ResNet-152, row 9 of the second report.

He et al., 2016, https://arxiv.org/abs/1512.03385
The report's result: F1 68.3 %, accuracy 68.3 %, kappa 0.302. It names no number of epochs: 10 here.

python -m jaxall.train --config configs/cnmc_resnet152.py --config.data.root=FOLDER
"""

from jaxall import config


def get_config() -> config.Config:
    """Adam at 1e-3, batch 32, 10 epochs at 300 px, the smaller class repeated."""
    return config.Config(
        name="cnmc_resnet152",
        data=config.DataSettings(name="cnmc", root="data/cnmc"),
        split=config.SplitSettings(kind="official"),
        preprocessing=config.PreprocessingSettings(image_size=300),
        augmentation=(config.FlipHorizontal(), config.FlipVertical()),
        balance=config.BalanceSettings(sampling="oversample"),
        model=config.ModelSettings(name="resnet152", init="imagenet", head="linear", dropout=0.0),
        optim=config.OptimSettings(learning_rate=1e-3, weight_decay=0.0),
        train=config.TrainSettings(batch_size=32, epochs=10.0, best_by="f1_weighted"),
    )
