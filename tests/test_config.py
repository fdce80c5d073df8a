import dataclasses
import json
import pathlib
import sys

import pytest
from absl import flags

from jaxall import cli, config, config_flag
from jaxall.data import transforms as transforms_lib
from jaxall.errors import UserError

# ml_collections loads config files by a method that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

FILES = sorted((pathlib.Path(__file__).parents[1] / "configs").glob("*.py"))
QUICKSTART = next(str(file) for file in FILES if file.stem == "quickstart")


def parse(*arguments):
    """The config of a command line, by the very steps that `train` takes, without their exit."""
    argv = ["train", *arguments]
    config_flag.check(argv)
    values = flags.FlagValues()
    holder = config_flag.define(values, argv)
    values(argv)
    holder.value.validate()
    return holder.value


def line_of(capsys, *arguments):
    """The one line on stderr with which a command line is refused."""

    def main(_arguments):
        parse(*arguments)
        return 0

    assert cli.guarded(main, []) == cli.BAD_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("error: ").rstrip("\n")


@pytest.fixture
def file_with(tmp_path):
    def write(text, name="made.py"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_config_survives_json(file):
    loaded = config_flag.load(str(file))
    again = config.Config.from_json(loaded.to_json())
    assert again == loaded
    assert again.to_json() == loaded.to_json()
    assert config.differences(loaded, again) == []
    assert [type(x) for x in again.augmentation] == [type(x) for x in loaded.augmentation]


def test_every_transform_survives_json():
    transforms = (config.Rotate(degrees=3.5, border="white"), config.FlipVertical(probability=0.1))
    transforms += tuple(kind() for kind in transforms_lib.by_name.values())
    made = config.Config(
        name="a",
        augmentation=transforms,
        balance=config.BalanceSettings(sampling="subject"),
        mixing=config.MixingSettings(mixup=0.2, cutmix=1.0),
        loss=config.LossSettings(class_weights="sqrt", focal_gamma=2.0, label_smoothing=0.1),
        optim=config.OptimSettings(schedule="step", step_epochs=(1.0, 2.5)),
    )
    again = config.Config.from_json(made.to_json())
    assert again == made
    assert isinstance(again.augmentation, tuple)
    assert again.optim.step_epochs == (1.0, 2.5)


def test_a_config_from_before_balance_loss_and_mixing_is_one_without_them():
    plain = json.loads(config.Config(name="a").to_json())
    older = {key: x for key, x in plain.items() if key not in ("balance", "loss", "mixing")}
    assert config.Config.from_json(json.dumps(older)) == config.Config(name="a")


def test_fields_of_any_depth_can_be_overridden():
    made = parse(
        "--config",
        QUICKSTART,
        "--config.seed=7",
        "--config.name=other",
        "--config.train.batch_size=8",
        "--config.train.epochs=3",
        "--config.optim.learning_rate=3e-4",
        "--config.optim.decay_norms_and_biases=false",
        "--noconfig.train.sync_batch_norm",
        "--config.data.root=/some/where else",
        "--config.preprocessing.mask=(0.25, 0.1)",
        "--config.augmentation[2].degrees=10",
        "--config.augmentation[0].probability",
        "0.25",
    )
    assert (made.seed, made.name, made.train.batch_size) == (7, "other", 8)
    assert made.train.epochs == 3.0
    assert isinstance(made.train.epochs, float)
    assert made.optim.learning_rate == 3e-4
    assert not made.optim.decay_norms_and_biases
    assert not made.train.sync_batch_norm
    assert made.data.root == "/some/where else"
    assert made.preprocessing.mask == (0.25, 0.1)
    assert made.augmentation[2] == config.Rotate(degrees=10.0)
    assert made.augmentation[0] == config.FlipHorizontal(probability=0.25)


def test_an_override_leaves_everything_else_alone():
    plain, made = parse("--config", QUICKSTART), parse(f"--config={QUICKSTART}", "--config.seed=7")
    assert config.differences(plain, made) == ["seed: 0 -> 7"]


def test_tuples_can_be_overridden():
    steps = "--config.optim.step_epochs=(2, 3.5)"
    made = parse("--config", QUICKSTART, "--config.optim.schedule=step", steps)
    assert made.optim.step_epochs == (2, 3.5)
    assert config.Config.from_json(made.to_json()) == made
    assert parse("--config", QUICKSTART, "--config.augmentation=()").augmentation == ()


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "--config.train.batchsize=8",
            "no setting is called 'train.batchsize'; the nearest are train.batch_size",
        ),
        (
            "--config.optim.lerning_rate=1",
            "no setting is called 'optim.lerning_rate'; the nearest are optim.learning_rate",
        ),
        (
            "--config.augmentation[2].degree=1",
            "no setting is called 'augmentation[2].degree'; the nearest are "
            "augmentation[2].degrees",
        ),
        (
            "--config.augmentation[7].degrees=1",
            "no setting is called 'augmentation[7].degrees'; the nearest are "
            "augmentation[2].degrees",
        ),
        (
            "--config.split=random",
            "no setting is called 'split'; the nearest are split.kind, split.train",
        ),
        ("--config.qqq=1", "no setting is called 'qqq'"),
        ("-config.train.batchsize=8", "no setting is called 'train.batchsize'; the nearest"),
        ("--config.train.batch_size=abc", "train.batch_size is a whole number; got 'abc'"),
        ("--config.train.batch_size=8.5", "train.batch_size is a whole number; got '8.5'"),
        ("--config.train.batch_size=", "train.batch_size is a whole number; got ''"),
        ("--config.train.epochs=many", "train.epochs is a finite number; got 'many'"),
        ("--config.train.epochs=inf", "train.epochs is a finite number; got inf"),
        ("--config.optim.learning_rate=nan", "optim.learning_rate is a finite number; got nan"),
        (
            "--config.train.sync_batch_norm=maybe",
            "train.sync_batch_norm is True or False; got 'maybe'",
        ),
        (
            "--config.augmentation[2].degrees=x",
            "augmentation[2].degrees is a finite number; got 'x'",
        ),
        ("--config.optim.step_epochs=('a',)", "optim.step_epochs[0] is a finite number; got 'a'"),
        ("--config.augmentation=('Glow',)", "augmentation[0] is one of Rotate, FlipHorizontal"),
        ("--config.augmentation=('Blur',)", "augmentation[0] is one of Rotate, FlipHorizontal"),
        ("--config.train.epochs=0", "train.epochs is above 0"),
        ("--config.seed=-1", "seed is at least 0 and below 2**31; got -1"),
        ("--config.name=a/b", "name is made of letters, digits, '_', '.', '-', and begins"),
        ("--config.model.name=densnet201", "unknown model 'densnet201'; did you mean densenet201?"),
        ("--config.data.name=ball", "no data set is called 'ball', there are b_all, drawn_smears"),
        ("--config.split.kind=groups", "no split is of kind 'groups', there are group, block"),
        ("--config.split.train=0.9", "wanted fractions above 0 that sum to 1, got train 0.9"),
        (
            "--config.optim.schedule=step",
            "optim.step_epochs goes with optim.schedule='step'; got schedule 'step' with",
        ),
        (
            "--config.preprocessing.image_size=28",
            "preprocessing.image_size of densenet121 is at least 29; got 28",
        ),
        ("--config.optim.warmup_epochs=99", "optim.warmup_epochs is at most the 8 epochs; got 99"),
        ("--config.augmentation[2].degrees=720", "Rotate.degrees must be from 0 to 180, not 720"),
        ("--config.augmentation[2].border=grey", "unknown Rotate.border 'grey'; there are reflect"),
        ("--config.model.dropout=1", "model.dropout is at least 0 and below 1; got 1.0"),
        (
            "--config.balance.sampling=classes",
            "balance.sampling is one of none, oversample, class,",
        ),
        ("--config.loss.class_weights=yes", "loss.class_weights is one of none, balanced, sqrt;"),
        ("--config.loss.label_smoothing=1", "loss.label_smoothing is at least 0 and below 1; got"),
        ("--config.mixing.mixup=-0.1", "mixing.mixup is at least 0 and finite; got -0.1"),
        ("--config.train.best_by=f1", "train.best_by is one of accuracy, balanced_accuracy"),
        ("--config.preprocessing.image_size=-4", "preprocessing.image_size is 0 or a size in"),
        ("--config.preprocessing.crop=-4", "preprocessing.crop is 0 or a size in pixels; got -4"),
        ("--config.preprocessing.mask=(0.2,)", "preprocessing.mask is two shares, of the width"),
    ],
)
def test_a_wrong_override_ends_in_one_line(capsys, override, line):
    assert line_of(capsys, "--config", QUICKSTART, override).startswith(line)


def test_classes_are_not_balanced_twice(capsys):
    twice = ("--config.balance.sampling=class", "--config.loss.class_weights=sqrt")
    assert line_of(capsys, "--config", QUICKSTART, *twice) == (
        "classes are balanced by balance.sampling or by loss.class_weights, not by both; "
        "got 'class' and 'sqrt'"
    )
    other = parse("--config", QUICKSTART, "--config.balance.sampling=subject", twice[1])
    assert other.loss.class_weights == "sqrt"


@pytest.mark.parametrize("arguments", [[], ["--config"], ["--config="], ["--config.seed=1"]])
def test_a_missing_config_ends_in_one_line(capsys, arguments):
    assert line_of(capsys, *arguments) == (
        "wanted --config FILE.py, a file with get_config() such as those in configs/"
    )


def test_a_file_that_is_not_there_ends_in_one_line(capsys, tmp_path):
    path = tmp_path / "gone.py"
    wanted = f"no config file at {path}: wanted a file with get_config()"
    assert line_of(capsys, "--config", str(path)) == wanted
    assert line_of(capsys, "--config", str(path), "--config.seed=1") == wanted
    assert line_of(capsys, "--config", str(tmp_path)).startswith("no config file at")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("def get_config(:\n", ": SyntaxError: invalid syntax (made.py, line 1)"),
        ("x = 1\n", " has no function get_config()"),
        ("get_config = 1\n", " has no function get_config()"),
        ("import nothing_of_that_name\n", ", line 1: ModuleNotFoundError: No module named"),
        ("def get_config():\n    return 1 / 0\n", ", line 2: ZeroDivisionError: division by zero"),
        ("def get_config(size):\n    return 1\n", ": TypeError: get_config() missing 1 required"),
        (
            "from jaxall import config\n\ndef get_config():\n    return config.Config(nam='a')\n",
            ", line 4: TypeError: Config.__init__() got an unexpected keyword argument 'nam'",
        ),
    ],
)
def test_a_file_that_fails_ends_in_one_line_with_its_place(capsys, file_with, text, line):
    file = file_with(text)
    assert line_of(capsys, "--config", file).startswith(file + line)


def test_a_file_that_returns_something_else_ends_in_one_line(capsys, file_with):
    file = file_with("def get_config():\n    pass\n")
    assert line_of(capsys, "--config", file) == (
        f"get_config() of {file} returns NoneType; wanted a config.Config"
    )


def test_what_follows_a_colon_is_handed_to_the_file(file_with):
    file = file_with(
        "from jaxall import config\n\ndef get_config(name):\n    return config.Config(name=name)\n"
    )
    assert parse("--config", f"{file}:given").name == "given"


def test_a_cry_for_help_is_let_through():
    config_flag.check(["train", "--help"])
    config_flag.check(["train", "--config.nothing=1", "--helpfull"])


def test_wrong_types_in_a_file_are_told_all_at_once():
    made = config.Config(
        name="a",
        seed=True,
        train=config.TrainSettings(batch_size=8.0, epochs="ten"),
        model="densenet201",
        augmentation=(config.Rotate(degrees="10"), len),
    )
    with pytest.raises(UserError) as caught:
        made.validate()
    told = str(caught.value)
    for part in (
        "seed is a whole number; got True",
        "train.batch_size is a whole number; got 8.0",
        "train.epochs is a finite number; got 'ten'",
        "model is a table; got 'densenet201'",
        "augmentation[0].degrees is a finite number; got '10'",
        f"augmentation[1] is one of {', '.join(transforms_lib.by_name)}; got",
    ):
        assert part in told


def test_impossible_settings_are_told_all_at_once():
    made = config.Config(
        name="a b",
        data=config.DataSettings(name="nowhere"),
        split=config.SplitSettings(train=0.5),
        preprocessing=config.PreprocessingSettings(normalisation="z"),
        augmentation=(config.Rotate(degrees=-1.0),),
        loader=config.LoaderSettings(prefetch=0),
        model=config.ModelSettings(name="nonet", head="three_layer"),
        optim=config.OptimSettings(name="sgdm"),
        train=config.TrainSettings(parallel="pjit"),
    )
    with pytest.raises(UserError) as caught:
        made.validate()
    told = str(caught.value)
    for word in ("nowhere", "0.5", "'z'", "degrees", "prefetch", "nonet", "three_layer", "sgdm"):
        assert word in told
    assert "pjit" in told
    assert "\n" not in told


def test_whole_numbers_are_taken_for_floats():
    made = config.Config(name="a", train=config.TrainSettings(epochs=40))
    made.validate()
    again = config.Config.from_json(made.to_json())
    assert again.train.epochs == 40.0
    assert isinstance(again.train.epochs, float)
    assert config.differences(made, again) == []


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"nme": "b"}, "no setting is called 'nme', there are name, seed, data"),
        (
            {"train": {"batchsize": 8}},
            "no setting is called 'train.batchsize', there are batch_size",
        ),
        ({"seed": "0"}, "seed is a whole number; got '0'"),
        ({"seed": 1.5}, "seed is a whole number; got 1.5"),
        ({"train": {"epochs": None}}, "train.epochs is a finite number; got None"),
        ({"train": 3}, "train is a table; got 3"),
        ({"augmentation": 3}, "augmentation is a list; got 3"),
        ({"augmentation": [{"degrees": 3}]}, "augmentation[0] is one of Rotate"),
        ({"augmentation": [{"transform": ["x"]}]}, "augmentation[0] is one of Rotate"),
        (
            {"augmentation": [{"transform": "Rotate", "angle": 3}]},
            "no setting is called 'augmentation[0].angle', there are degrees, border",
        ),
    ],
)
def test_a_saved_config_that_was_tampered_with_is_refused(change, part):
    values = json.loads(config.Config(name="a").to_json()) | change
    with pytest.raises(UserError) as caught:
        config.Config.from_json(json.dumps(values))
    assert part in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"seed": 1}', '{"transform": "Rotate"}'])
def test_a_saved_config_that_is_none_is_refused(text):
    with pytest.raises(
        UserError, match=r"^it is not JSON: |^it is a table; got |^name is missing|^no set"
    ):
        config.Config.from_json(text)


def test_differences_name_what_decides_the_result_and_nothing_else():
    old = config.Config(name="a", augmentation=(config.Rotate(degrees=5.0),))
    new = dataclasses.replace(
        old,
        seed=3,
        augmentation=(config.Rotate(degrees=6.0), config.FlipHorizontal()),
        loader=config.LoaderSettings(threads=7),
        data=config.DataSettings(root="elsewhere"),
        train=config.TrainSettings(log_every=1, checkpoint_every=5, epochs=3.0),
    )
    assert config.differences(old, new) == [
        "augmentation[0].degrees: 5.0 -> 6.0",
        "augmentation[1].probability: absent -> 0.5",
        "augmentation[1].transform: absent -> FlipHorizontal",
        "seed: 0 -> 3",
        "train.epochs: 40.0 -> 3.0",
    ]
    assert config.differences(old, old) == []


def test_an_unknown_flag_ends_in_one_line_that_names_the_nearest(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evaluate", "--chekpoint=3"])
    values = flags.FlagValues()
    flags.DEFINE_string("checkpoint", "best", "which", flag_values=values)
    with pytest.raises(flags.Error, match="Did you mean: checkpoint"):
        values(sys.argv)


@pytest.mark.parametrize(
    ("drops", "line"),
    [
        (
            (5.0, 5.0),
            r"ascend from the end of the warm-up; got \(5\.0, 5\.0\) with warmup_epochs 1",
        ),
        ((0.5,), r"ascend from the end of the warm-up; got \(0\.5,\) with warmup_epochs 1"),
        ((5.0, 11.0), r"lie before the end, epoch 11; got \(5\.0, 11\.0\)"),
    ],
)
def test_drops_of_the_rate_that_cannot_be_are_told(drops, line):
    optim = config.OptimSettings(schedule="step", step_epochs=drops, warmup_epochs=1.0)
    made = config.Config(name="a", optim=optim, train=config.TrainSettings(epochs=11.0))
    with pytest.raises(UserError, match=f"optim.step_epochs {line}"):
        made.validate()
