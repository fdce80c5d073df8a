"""C-NMC 2019, normal or leukemic cells: one convolution, row 1 of the second report.

Convolution, batch norm, mean, dense. The report's result: accuracy 63.6 %.

python -m jaxall.train --config configs/cnmc_baseline.py --config.data.root=FOLDER
"""

from jaxall import config


def get_config() -> config.Config:
    """Adam at 1e-3, batch 60, 1 epoch at 100 px."""
    return config.Config(
        name="cnmc_baseline",
        data=config.DataSettings(name="cnmc", root="data/cnmc"),
        split=config.SplitSettings(kind="official"),
        preprocessing=config.PreprocessingSettings(image_size=100),
        model=config.ModelSettings(name="baseline", init="none", head="linear", dropout=0.0),
        optim=config.OptimSettings(learning_rate=1e-3, weight_decay=0.0),
        train=config.TrainSettings(batch_size=60, epochs=1.0, best_by="f1_weighted"),
    )
