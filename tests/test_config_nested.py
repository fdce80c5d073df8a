"""Settings that are tables of their own within a list: stages and groups."""

import pytest

from jaxall import config
from jaxall.errors import UserError
from tests.test_config import line_of, parse

# ml_collections loads config files by a method that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

FILE = """
from jaxall import config


def get_config():
    return config.Config(
        name="staged",
        optim=config.OptimSettings(groups=(config.Group(pattern="backbone/.*", factor=0.1),)),
        train=config.TrainSettings(
            epochs=10.0,
            stages=(
                config.Stage(epochs=1.0),
                config.Stage(epochs=3.0, trainable=("head/.*", "backbone/denseblock4/.*")),
            ),
        ),
    )
"""


@pytest.fixture
def file(tmp_path) -> str:
    path = tmp_path / "staged.py"
    path.write_text(FILE)
    return str(path)


def test_stages_and_groups_survive_json(file):
    loaded = parse("--config", file)
    again = config.Config.from_json(loaded.to_json())
    assert again == loaded
    assert isinstance(again.train.stages[1], config.Stage)
    assert again.train.stages[1].trainable == ("head/.*", "backbone/denseblock4/.*")
    assert isinstance(again.optim.groups[0], config.Group)
    assert config.differences(loaded, again) == []


def test_a_stage_and_a_group_can_be_overridden(file):
    made = parse(
        "--config",
        file,
        "--config.train.stages[0].epochs=2",
        "--config.train.stages[1].trainable=('head/.*',)",
        "--config.train.stages[1].batch_norm=frozen",
        "--config.optim.groups[0].factor=0.01",
    )
    assert made.train.stages[0] == config.Stage(epochs=2.0)
    assert made.train.stages[1].trainable == ("head/.*",)
    assert made.train.stages[1].batch_norm == "frozen"
    assert made.optim.groups[0].factor == 0.01
    assert config.differences(parse("--config", file), made) == [
        "optim.groups[0].factor: 0.1 -> 0.01",
        "train.stages[0].epochs: 1.0 -> 2.0",
        "train.stages[1].batch_norm: train -> frozen",
        "train.stages[1].trainable: ['head/.*', 'backbone/denseblock4/.*'] -> ['head/.*']",
    ]
    assert parse("--config", file, "--config.train.stages=()").train.stages == ()


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("--config.train.stages[0].epochs=8", "train.stages last no longer than train.epochs, whi"),
        ("--config.train.stages[0].epochs=x", "train.stages[0].epochs is a finite number; got 'x'"),
        ("--config.train.stages[0].epoch=1", "no setting is called 'train.stages[0].epoch'; the n"),
        ("--config.train.stages=('head',)", "train.stages[0] is a table; got 'head'"),
        ("--config.train.stages[1].trainable=(1,)", "train.stages[1].trainable[0] is a text; got"),
        ("--config.train.stages[0].batch_norm=off", "train.stages[0].batch_norm is one of train, "),
        ("--config.optim.groups[0].pattern=(", "optim.groups[0].pattern is a regular expression;"),
        ("--config.train.ema=1", "train.ema is at least 0 and below 1; got 1"),
        ("--config.train.batch_norm=eval", "train.batch_norm is one of train, frozen; got 'eval'"),
        ("--config.train.patience=-1", "train.patience is at least 0; got -1"),
    ],
)
def test_a_wrong_stage_or_group_ends_in_one_line(capsys, file, override, line):
    assert line_of(capsys, "--config", file, override).startswith(line)


def test_patience_that_leaves_a_plateau_no_step_is_refused():
    made = config.Config(
        name="a",
        optim=config.OptimSettings(schedule="plateau", plateau_patience=5),
        train=config.TrainSettings(patience=6),
    )
    with pytest.raises(UserError, match=r"^train.patience is at least optim.plateau_patience \+ 2"):
        made.validate()
    made.train.patience = 7
    made.validate()
