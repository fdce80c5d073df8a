"""C-NMC 2019 as its best honest entries did it: cells at their own scale, in any position, briefly.

After Prellberg & Kramer, 2019, https://arxiv.org/abs/1906.09020, with a ResNet-50 in place of their
SE-ResNeXt-50: centre crop without resizing, full rotation and shift, three learning rates (1e-6,
1e-4, 1e-2), drops after epochs 2 and 4. Score it with --tta rotations:8. Not run on the whole set.

python -m jaxall.train --config configs/cnmc_modern.py --config.data.root=FOLDER
"""

from jaxall import config


def get_config() -> config.Config:
    """Adam by groups of parameters, batch 16, 6 epochs at 300 px, classes weighted."""
    return config.Config(
        name="cnmc_modern",
        data=config.DataSettings(name="cnmc", root="data/cnmc"),
        split=config.SplitSettings(kind="official"),
        preprocessing=config.PreprocessingSettings(image_size=300, crop=300),
        augmentation=(
            config.FlipHorizontal(),
            config.FlipVertical(),
            config.Rotate(degrees=180.0, border="black"),
            config.Shift(strength=0.2, border="black"),
        ),
        model=config.ModelSettings(name="resnet50", init="imagenet", head="linear", dropout=0.0),
        loss=config.LossSettings(class_weights="balanced"),
        optim=config.OptimSettings(
            learning_rate=1e-4,
            weight_decay=0.0,
            schedule="step",
            step_epochs=(2.0, 4.0),
            groups=(
                config.Group(pattern="backbone/(conv1|norm1|stage1)/.*", factor=0.01),
                config.Group(pattern="head/.*", factor=100.0),
            ),
        ),
        train=config.TrainSettings(batch_size=16, epochs=6.0, best_by="f1_weighted"),
    )
