"""python -m jaxall.report, from the command line to the picture, and what it refuses."""

import pytest
from absl.testing import flagsaver
from PIL import Image

from jaxall import cli, report
from jaxall.data import synthetic
from tests import programs

QUICKSTART = programs.ROOT / "configs" / "quickstart.py"


@pytest.fixture
def drawn(tmp_path):
    root = tmp_path / "drawn"
    synthetic.write(root, subjects_per_class=1, pictures_per_subject=1, size=40)
    return root


@pytest.fixture
def refused(capsys):
    """Runs the command, which must refuse; returns its line on stderr, without "error: "."""

    def call(*arguments, **values):
        with flagsaver.flagsaver(**values):
            assert cli.guarded(report.main, list(arguments)) == cli.BAD_INPUT
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("error: ")

    return call


def config_file(folder, text):
    path = folder / "made.py"
    path.write_text(f"from jaxall import config\n\ndef get_config():\n    {text}\n")
    return str(path)


def test_augmentations_are_drawn_as_a_person_asks_for_them(drawn, tmp_path):
    out = tmp_path / "sheet.png"
    code, said, problems = programs.run(
        "report",
        *("--augmentations", QUICKSTART, "--data", drawn, "--out", out),
        cache=tmp_path / "cache",
    )
    assert (code, problems) == (0, "")
    first, second = said.splitlines()
    assert first == (
        "quickstart: 3 pictures of drawn_smears, 64 x 64, 3 transforms together and each alone"
    )
    assert second.strip() == str(out)
    with Image.open(out) as image:
        assert image.format == "PNG"
        assert image.width == 7 * (224 + 12) + 12, "the picture and six draws"
        assert image.height > 6 * 224, "three pictures and three transforms"


def test_the_sheet_is_the_same_every_time_and_lies_here_by_default(drawn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []
    for out in ("", "again.png"):
        with flagsaver.flagsaver(augmentations=str(QUICKSTART), data=str(drawn), out=out):
            assert report.main([]) == 0
        made.append((tmp_path / (out or "augmentations.png")).read_bytes())
    assert made[0] == made[1]


def test_something_to_show_is_wanted(refused):
    assert refused() == "report wants something to show: --augmentations FILE.py"
    assert refused("now", augmentations="a.py") == "report takes flags only; got now"


def test_a_config_that_is_not_there_is_refused(refused, tmp_path):
    gone = tmp_path / "gone.py"
    line = refused(augmentations=str(gone))
    assert line == f"no config file at {gone}: wanted a file with get_config()"


def test_a_config_without_augmentation_is_refused(refused, tmp_path):
    file = config_file(tmp_path, "return config.Config(name='plain')")
    assert refused(augmentations=file) == (
        "plain has no augmentation to show: wanted at least one transform in the config's "
        "augmentation"
    )


def test_an_impossible_config_is_refused(refused, tmp_path):
    text = "return config.Config(name='a', augmentation=(config.Blur(strength=2.0),))"
    line = refused(augmentations=config_file(tmp_path, text))
    assert line == "Blur.strength must be from 0 to 0.1, not 2.0"


def test_pictures_are_wanted(refused, tmp_path):
    text = "return config.Config(name='a', augmentation=(config.Blur(),))"
    line = refused(augmentations=config_file(tmp_path, text), data=str(tmp_path / "gone"))
    assert line.startswith(f"there is no folder {tmp_path}/gone; wanted a folder with Original/")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nowhere/sheet.png", "--out: no folder {}/nowhere"),
        ("folder.png", "--out: {}/folder.png is a folder; wanted the name of a picture"),
        ("sheet.csv", "--out: {}/sheet.csv has the name of something else; wanted that of a .png"),
    ],
)
def test_a_place_for_the_picture_is_wanted(refused, tmp_path, name, line):
    (tmp_path / "folder.png").mkdir()
    said = refused(augmentations=str(QUICKSTART), out=str(tmp_path / name))
    assert said.startswith(line.format(tmp_path))
