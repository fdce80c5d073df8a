"""C-NMC 2019, normal or leukemic cells: DenseNet-121, row 4 of the second report.

Huang et al., 2017, https://arxiv.org/abs/1608.06993
The report's result: accuracy 65.3 %.

python -m jaxall.train --config configs/cnmc_densenet121.py --config.data.root=FOLDER
"""

from jaxall import config


def get_config() -> config.Config:
    """Adam at 1e-4, batch 32, 2 epochs at 300 px."""
    return config.Config(
        name="cnmc_densenet121",
        data=config.DataSettings(name="cnmc", root="data/cnmc"),
        split=config.SplitSettings(kind="official"),
        preprocessing=config.PreprocessingSettings(image_size=300),
        augmentation=(config.RandomCrop(smallest=0.8), config.FlipHorizontal()),
        model=config.ModelSettings(name="densenet121", init="imagenet", head="linear", dropout=0.0),
        optim=config.OptimSettings(learning_rate=1e-4, weight_decay=0.0),
        train=config.TrainSettings(batch_size=32, epochs=2.0, best_by="f1_weighted"),
    )
