"""B-ALL subtypes with what later work adds: head first, any position, stain, averaged weights.

The corner of the burnt-in scale bars is painted over, and whole groups of near duplicates stand in
one fold. Score it with --tta dihedral8. Not run to its end here.

python -m jaxall.train --config configs/b_all_modern.py --config.data.root=FOLDER --folds
"""

from jaxall import config


def get_config() -> config.Config:
    """AdamW, an epoch of the head, then all; the rate rises over two, then a cosine; batch 32."""
    return config.Config(
        name="b_all_modern",
        data=config.DataSettings(name="b_all", root="data/b_all"),
        split=config.SplitSettings(kind="folds", folds=5),
        preprocessing=config.PreprocessingSettings(mask=(0.18, 0.15)),
        augmentation=(
            config.FlipHorizontal(),
            config.FlipVertical(),
            config.Rotate(degrees=180.0),
            config.Shift(strength=0.1),
            config.StainJitter(strength=0.05),
        ),
        model=config.ModelSettings(name="densenet201", init="imagenet", head="linear"),
        loss=config.LossSettings(class_weights="balanced", label_smoothing=0.1),
        optim=config.OptimSettings(
            name="adamw",
            learning_rate=1e-3,
            weight_decay=1e-2,
            decay_norms_and_biases=False,
            schedule="cosine",
            warmup_epochs=2.0,
            groups=(config.Group(pattern="backbone/.*", factor=0.1),),
        ),
        train=config.TrainSettings(
            batch_size=32,
            epochs=16.0,
            stages=(config.Stage(epochs=1.0, trainable=("head/.*",)),),
            ema=0.999,
        ),
    )
