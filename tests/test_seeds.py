"""The configs of the two reports' experiments say what the reports' tables say."""

import pytest

from jaxall import config, config_flag
from tests import programs

# ml_collections loads config files by a method that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

H, V, CROP = "FlipHorizontal", "FlipVertical", "RandomCrop"
LIGHT = ("Brightness", "Contrast")
# config: (model, image size, batch, epochs, rate, augmentations, balance); None where the report
# is silent
SECOND_REPORT = {
    "cnmc_baseline": ("baseline", 100, 60, 1, 1e-3, (), "none"),
    "cnmc_vgg16": ("vgg16", 128, 512, 20, 1e-3, (H, V), "none"),
    "cnmc_vgg19": ("vgg19", 128, 512, 20, 1e-3, (H, V), "none"),
    "cnmc_efficientnet_b4": ("efficientnet_b4", 300, 32, 7, 1e-3, (H, V, *LIGHT), "oversample"),
    "cnmc_efficientnet_b5": ("efficientnet_b5", 300, 32, 7, 1e-3, (H, V, *LIGHT), "oversample"),
    "cnmc_densenet121": ("densenet121", 300, 32, 2, 1e-4, (CROP, H), "none"),
    "cnmc_densenet161": ("densenet161", 100, 32, 5, 1e-4, (CROP, H), "none"),
    "cnmc_googlenet": ("googlenet", 200, 32, 10, 1e-4, (CROP, H, V), "none"),
    "cnmc_efficientnet_b3": (
        *("efficientnet_b3", 200, 32, 10, 1e-3),
        *((CROP, H, V, "Gamma", *LIGHT), "weights"),
    ),
    "cnmc_densenet169": ("densenet169", 300, 32, None, 1e-3, (H, V), "oversample"),
    "cnmc_resnet152": ("resnet152", 300, 32, None, 1e-3, (H, V), "oversample"),
    "cnmc_googlenet_best": ("googlenet", None, None, None, None, None, None),
    "cnmc_efficientnet_b0": ("efficientnet_b0", 300, 32, None, 1e-3, (H, V), "oversample"),
}


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> config.Config:
    monkeypatch.chdir(programs.ROOT)
    return config_flag.load(f"configs/{name}.py")


def balance_of(made: config.Config) -> str:
    return "weights" if made.loss.class_weights == "balanced" else made.balance.sampling


@pytest.mark.parametrize("name", SECOND_REPORT)
def test_a_row_of_the_second_report(name, monkeypatch):
    made = load(name, monkeypatch)
    model, *wanted = SECOND_REPORT[name]
    found = [
        made.preprocessing.image_size,
        made.train.batch_size,
        made.train.epochs,
        made.optim.learning_rate,
        tuple(type(transform).__name__ for transform in made.augmentation),
        balance_of(made),
    ]
    assert made.model.name == model and made.data.name == "cnmc"
    for came, said in zip(found, wanted, strict=True):
        if isinstance(said, tuple):
            assert sorted(came) == sorted(said)
        elif said is not None:
            assert came == said
    # Networks come pretrained, but for the baseline, which nobody has trained before.
    assert made.model.init == ("none" if model == "baseline" else "imagenet")
    assert made.train.best_by in ("f1_weighted", "f1_macro", "kappa")


def test_the_best_of_the_second_report_cuts_the_middle_out(monkeypatch):
    assert load("cnmc_efficientnet_b0", monkeypatch).preprocessing.crop > 0


def test_every_row_has_a_config():
    there = {path.stem for path in (programs.ROOT / "configs").glob("cnmc_*.py")}
    assert there - {"cnmc_modern"} == set(SECOND_REPORT)


def test_the_first_report(monkeypatch):
    made = load("densenet201", monkeypatch)
    assert (made.model.name, made.model.init, made.model.head) == (
        *("densenet201", "imagenet", "two_layer"),
    )
    assert (made.model.width, made.model.dropout) == (128, 0.2)
    assert (made.preprocessing.image_size or 224, made.train.batch_size) == (224, 16)
    assert (made.train.epochs, made.optim.name) == (40, "adam")
    assert (made.optim.learning_rate, made.optim.weight_decay) == (1e-4, 1e-5)
    assert made.optim.clip_norm == 0.01
    degrees, *others = made.augmentation
    assert degrees == config.Rotate(degrees=20.0)
    assert [type(one).__name__ for one in others] == [H, V, *LIGHT]
    assert [one.probability for one in others[:2]] == [0.5, 0.5]
    assert [one.strength for one in others[2:]] == [0.1, 0.1]
