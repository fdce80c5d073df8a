"""C-NMC 2019, normal or leukemic cells: EfficientNet-B3, row 7 of the second report.

Tan & Le, 2019, https://arxiv.org/abs/1905.11946
The report's result: accuracy 74.5 %.

python -m jaxall.train --config configs/cnmc_efficientnet_b3.py --config.data.root=FOLDER
"""

from jaxall import config


def get_config() -> config.Config:
    """Adam at 1e-3, batch 32, 10 epochs at 200 px, classes weighted."""
    return config.Config(
        name="cnmc_efficientnet_b3",
        data=config.DataSettings(name="cnmc", root="data/cnmc"),
        split=config.SplitSettings(kind="official"),
        preprocessing=config.PreprocessingSettings(image_size=200),
        augmentation=(
            config.RandomCrop(smallest=0.8),
            config.FlipHorizontal(),
            config.FlipVertical(),
            config.Gamma(),
            config.Brightness(),
            config.Contrast(),
        ),
        model=config.ModelSettings(
            name="efficientnet_b3", init="imagenet", head="linear", dropout=0.0
        ),
        loss=config.LossSettings(class_weights="balanced"),
        optim=config.OptimSettings(learning_rate=1e-3, weight_decay=0.0),
        train=config.TrainSettings(batch_size=32, epochs=10.0, best_by="f1_weighted"),
    )
