"""C-NMC 2019, normal or leukemic cells: DenseNet-161, row 5 of the second report.

Huang et al., 2017, https://arxiv.org/abs/1608.06993
The report's result: accuracy 70.8 %.

python -m jaxall.train --config configs/cnmc_densenet161.py --config.data.root=FOLDER
"""

from jaxall import config


def get_config() -> config.Config:
    """Adam at 1e-4, batch 32, 5 epochs at 100 px."""
    return config.Config(
        name="cnmc_densenet161",
        data=config.DataSettings(name="cnmc", root="data/cnmc"),
        split=config.SplitSettings(kind="official"),
        preprocessing=config.PreprocessingSettings(image_size=100),
        augmentation=(config.RandomCrop(smallest=0.8), config.FlipHorizontal()),
        model=config.ModelSettings(name="densenet161", init="imagenet", head="linear", dropout=0.0),
        optim=config.OptimSettings(learning_rate=1e-4, weight_decay=0.0),
        train=config.TrainSettings(batch_size=32, epochs=5.0, best_by="f1_weighted"),
    )
