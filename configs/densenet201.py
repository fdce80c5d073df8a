"""B-ALL subtypes: DenseNet-201 features and a two-layer head, the recipe of the first report.

After Ghaderzadeh et al., 2022, https://doi.org/10.1002/int.22753. Two departures, on purpose:
inputs are normalised as the ImageNet weights want them (the report's is
--config.preprocessing.normalisation=unit), and duplicates stay on one side of the split (the
report's is --config.split.kind=random).

python -m jaxall.train --config configs/densenet201.py --config.data.root=FOLDER
"""

from jaxall import config


def get_config() -> config.Config:
    """Adam with coupled L2, clipping at 0.01, batch 16, 40 epochs."""
    return config.Config(
        name="densenet201",
        data=config.DataSettings(name="b_all", root="data/b_all"),
        augmentation=(
            config.Rotate(degrees=20.0),
            config.FlipHorizontal(),
            config.FlipVertical(),
            config.Brightness(strength=0.1),
            config.Contrast(strength=0.1),
        ),
        model=config.ModelSettings(name="densenet201", init="imagenet", head="two_layer"),
        optim=config.OptimSettings(learning_rate=1e-4, weight_decay=1e-5, clip_norm=0.01),
        train=config.TrainSettings(batch_size=16, epochs=40.0),
    )
