"""python -m jaxall.report, from the command line to what it shows, and what it refuses."""

import json

import pytest
from absl.testing import flagsaver
from PIL import Image

from jaxall import cli, evaluate, report, train
from jaxall.data import audit, checking, duplicates, synthetic
from tests import handmade, programs
from tests.reporting import markup

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


def test_a_run_is_trained_scored_and_shown(tmp_path):
    root, run, site = tmp_path / "drawn", tmp_path / "runs" / "a", tmp_path / "site"
    synthetic.write(root, subjects_per_class=6, pictures_per_subject=2, size=40)
    with pytest.MonkeyPatch.context() as patch:
        programs.register_tiny(patch)
        train.train(programs.tiny_config(root), run, programs.quiet())
        evaluate.evaluate(run, "test", "best", "")
        with flagsaver.flagsaver(out=str(site)):
            assert report.main([str(run)]) == 0
    page = markup.read((site / "index.html").read_text())
    assert page.texts["title"] == ["Scores of one run on the test side: drawn_smears"]
    (found,) = json.loads((site / "report.json").read_text())["sets"]
    (file,) = run.glob("evaluation/test-*/scores.json")
    scores = json.loads(file.read_text())
    assert found["rows"][0]["accuracy"] == scores["accuracy"]
    baselines = {row["name"]: row["accuracy"] for row in found["rows"][1:]}
    assert baselines == scores["baselines"]
    assert "learning curves by epoch" in "".join(page.texts["figcaption"])


def test_a_cross_validation_is_a_row_with_mean_and_deviation(tmp_path):
    root, folder, site = tmp_path / "drawn", tmp_path / "cv", tmp_path / "site"
    synthetic.write(root, subjects_per_class=6, pictures_per_subject=2, size=40)
    with pytest.MonkeyPatch.context() as patch:
        programs.register_tiny(patch)
        settings = programs.tiny_config(root)
        settings.split.kind, settings.split.folds, settings.train.epochs = "folds", 2, 1.0
        train.cross_validate(settings, folder, programs.quiet())
        for side in ("test", "validation"):
            with flagsaver.flagsaver(out=str(site / side), split=side):
                assert report.main([str(folder)]) == 0
    summary = json.loads((folder / "folds.json").read_text())
    for side in ("test", "validation"):
        markup.read((site / side / "index.html").read_text())
        (found,) = json.loads((site / side / "report.json").read_text())["sets"]
        mean, *others = found["rows"]
        assert (mean["name"], mean["checkpoint"]) == ("cv", "mean of 2 folds")
        assert mean["accuracy"] == summary[side]["accuracy"]["mean"]
        assert mean["accuracy_deviation"] == summary[side]["accuracy"]["deviation"]
        pooled = [row["accuracy"] for row in others if row["kind"] == "run"]
        assert pooled == ([summary["pooled"]["accuracy"]] if side == "test" else [])


def test_the_command_says_where_the_page_is(tmp_path):
    handmade.run(tmp_path / "a")
    code, said, problems = programs.run(
        "report", tmp_path / "a", "--out", tmp_path / "site", cache=tmp_path / "cache"
    )
    assert (code, problems) == (0, "")
    assert said == f"one run, 1 set of test pictures\n  {tmp_path}/site/index.html\n"


def test_a_data_set_that_was_audited_is_shown_alone(drawn, tmp_path, capsys, refused):
    data_set = synthetic.load(drawn)
    checked = checking.check(data_set)
    found = audit.audit(data_set, checked, duplicates.find(data_set, checked))
    audit.save(found, drawn / audit.FILE)
    with flagsaver.flagsaver(out=str(tmp_path / "sheets")):
        assert report.main([str(drawn)]) == 0
    assert "audit of drawn_smears, 4 pictures" in capsys.readouterr().out
    line = refused(str(drawn), str(tmp_path))
    assert line == f"{drawn} is a data set, to be shown alone; got 2 folders"


def test_a_run_that_was_never_scored_is_refused_with_the_command(refused, tmp_path):
    handmade.run(tmp_path / "a")
    assert refused(str(tmp_path / "a"), split="train") == (
        f"{tmp_path}/a was never scored on its train side; wanted first: "
        f"python -m jaxall.evaluate {tmp_path}/a --split train"
    )


def test_something_to_show_is_wanted(refused):
    assert refused() == (
        "report wants something to show: folders of runs, or --augmentations FILE.py"
    )
    line = "--augmentations takes no folders of runs; got now"
    assert refused("now", augmentations="a.py") == line


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
