"""C-NMC 2019, normal or leukemic cells: VGG-19, row 2 of the second report.

Simonyan & Zisserman, 2015, https://arxiv.org/abs/1409.1556
The report's result: accuracy 59.2 %.

python -m jaxall.train --config configs/cnmc_vgg19.py --config.data.root=FOLDER
"""

from jaxall import config


def get_config() -> config.Config:
    """Adam at 1e-3, batch 512, 20 epochs at 128 px."""
    return config.Config(
        name="cnmc_vgg19",
        data=config.DataSettings(name="cnmc", root="data/cnmc"),
        split=config.SplitSettings(kind="official"),
        preprocessing=config.PreprocessingSettings(image_size=128),
        augmentation=(config.FlipHorizontal(), config.FlipVertical()),
        model=config.ModelSettings(name="vgg19", init="imagenet", head="linear", dropout=0.0),
        optim=config.OptimSettings(learning_rate=1e-3, weight_decay=0.0),
        train=config.TrainSettings(batch_size=512, epochs=20.0, best_by="f1_weighted"),
    )
