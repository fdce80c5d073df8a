"""The page that compares runs, from folders to what a reader of the page finds."""

import base64
import csv
import dataclasses
import hashlib
import itertools
import json
import pathlib
import shutil

import pytest

from jaxall import config
from jaxall.comparing import comparison, pages
from jaxall.errors import UserError
from jaxall.evaluation import scores as scores_lib
from jaxall.evaluation import spread
from jaxall.reporting import tables
from tests import handmade, programs
from tests.reporting import markup

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "$x_1$ & \x07=1+1")


def settings_of(model: str) -> dict:
    return {"model": config.ModelSettings(name=model)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> pathlib.Path:
    """Two runs on the same pictures, of which one is clearly better, and one on others."""
    folder = tmp_path_factory.mktemp("runs")
    rate = config.OptimSettings(learning_rate=3e-3)
    handmade.run(folder / "good", skill=2.8, per_class=60, **settings_of("densenet201"))
    handmade.run(
        folder / "poor", skill=0.6, per_class=60, seed=1, **settings_of("densenet121"), optim=rate
    )
    handmade.run(folder / "hostile", class_names=HOSTILE, per_class=0, of=1)
    return folder


def made(folders: list[pathlib.Path], out: pathlib.Path, side: str = "test") -> str:
    path = pages.write(comparison.gather(folders, side), side, out, programs.quiet())
    return path.read_text()


@pytest.fixture(scope="module")
def site(runs, tmp_path_factory) -> pathlib.Path:
    out = tmp_path_factory.mktemp("site")
    made([runs / "good", runs / "poor", runs / "hostile"], out)
    return out


@pytest.fixture(scope="module")
def page(site) -> markup.Reader:
    return markup.read((site / "index.html").read_text())


def found_scores(run: pathlib.Path) -> dict:
    return scores_lib.from_json((run / "evaluation" / "test-step30" / "scores.json").read_text())


def test_nothing_is_loaded_from_anywhere(page, site):
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form"), tag
        for name, value in attributes.items():
            assert "://" not in (value or ""), f"{tag} {name}={value}"
            if name in ("src", "href") and tag == "image":
                assert value.startswith("data:image/png;base64,")
            elif name == "href":
                assert value.startswith("#") or (site / value).is_file(), value
            assert name != "src"
    style = "".join(page.texts["style"])
    assert "url(" not in style and "@import" not in style


def test_names_are_text_and_never_markup(page):
    text = "".join(page.texts["main"])
    assert HOSTILE[0] in text and HOSTILE[1] in text
    assert "img" not in {tag for tag, _ in page.elements}
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    drawn = "".join(page.texts["svg"])
    assert "$x_1$" in drawn and "<script>" in drawn


def test_the_one_script_is_the_one_that_the_policy_names(page):
    (script,) = [a for tag, a in page.elements if tag == "script"]
    assert script == {}
    digest = hashlib.sha256("".join(page.texts["script"]).encode()).digest()
    (policy,) = [a["content"] for _, a in page.elements if "http-equiv" in a]
    assert f"script-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert policy.startswith("default-src 'none'")


def test_every_id_stands_once_and_every_reference_leads_to_one(page):
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    wanted = {a["href"][1:] for _, a in page.elements if (a.get("href") or "").startswith("#")}
    wanted |= {a["clip-path"][5:-1] for _, a in page.elements if "clip-path" in a}
    assert len(wanted) > 20 and wanted <= set(ids)
    labels = {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a}
    assert labels <= set(ids)


def test_the_numbers_are_those_of_the_scores(page, site, runs):
    cells = "".join(page.texts["td"])
    record = json.loads((site / "report.json").read_text())
    rows = {row["name"]: row for one in record["sets"] for row in one["rows"]}
    for name in ("good", "poor", "hostile"):
        scores = found_scores(runs / name)
        for score in scores_lib.by_confusion(len(scores["per_class"])).keys() - {"matthews"}:
            assert tables.score(score, scores[score]) in cells
            assert rows[name][score] == scores[score]
            low, high = scores["intervals_95"]["bounds"][score]
            assert (rows[name][f"{score}_low"], rows[name][f"{score}_high"]) == (low, high)
        assert rows[name]["auroc"] == scores["auroc"]
        assert rows[name]["pictures"] == scores["examples"]
    assert rows["good"]["interval_over"] == "40 subjects"
    assert rows["hostile"]["interval_over"] == "30 pictures"
    assert rows["commonest class"] == {
        "kind": "baseline",
        "name": "commonest class",
        "pictures": 30,
        "accuracy": 0.5,
    }


def test_runs_on_other_pictures_stand_in_a_table_of_their_own(page, site):
    (notice,) = [text for text in page.texts["strong"] if text.startswith("Not all")]
    assert notice == "Not all of these scores can be compared."
    record = json.loads((site / "report.json").read_text())
    names = [[row["name"] for row in one["rows"]] for one in record["sets"]]
    assert names[0][:2] == ["good", "poor"] and names[1][0] == "hostile"
    assert record["sets"][0]["pictures_sha256"] != record["sets"][1]["pictures_sha256"]


def test_the_same_pictures_elsewhere_are_the_same_set(tmp_path):
    handmade.run(tmp_path / "a", skill=1.0)
    handmade.run(tmp_path / "b", skill=1.0, seed=1, data=config.DataSettings(root="elsewhere"))
    text = made([tmp_path / "a", tmp_path / "b"], tmp_path / "site")
    assert "can be compared" not in text
    assert json.loads((tmp_path / "site" / "report.json").read_text())["sets"][1:] == []


def test_bold_is_what_stands_clear_of_all_others(page):
    bold = [a for tag, a in page.elements if tag == "td" and "best" in (a.get("class") or "")]
    assert bold, "good is better than poor beyond every interval"
    assert any("By accuracy good is better" in text for text in page.texts["p"])


def test_only_settings_that_differ_are_shown(site, page):
    heads = page.texts["th"]
    assert "optim.learning_rate" in heads
    assert "optim.weight_decay" not in heads and "model.name" not in heads
    with (site / "data" / "settings.csv").open() as file:
        rows = list(csv.DictReader(file))
    rates = {row["run"]: row["value"] for row in rows if row["setting"] == "optim.learning_rate"}
    assert rates["poor"] == "0.003" and rates["good"] == "0.0001"


def test_the_draws_of_training_pictures_are_shown(page, site):
    (one, *_) = json.loads((site / "data" / "sampling.json").read_text())
    own = {key: value for key, value in one.items() if value is not None}
    assert own == {"run": "good", "sampling": "class", "draws": 200, "draws of ALL": 100.0}
    assert "draws of ALL" in page.texts["th"]


def test_commands_versions_and_speed_are_there(page):
    assert "python -m jaxall.train --config 'a file.py'" in page.texts["code"][0]
    assert "python -m jaxall.evaluate runs/a" in page.texts["code"][0]
    cells = page.texts["td"]
    assert "2 x cpu" in cells and "0.0.1" in cells
    assert "52.5" in cells, "the median of the epochs after the first, which compiles"
    assert "12.5" in cells, "the median of their seconds"
    assert "3,000" in cells, "the most memory"


def test_every_file_is_listed_and_can_be_read(page, site):
    record = json.loads((site / "report.json").read_text())
    on_disk = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert on_disk == {*record["files"], "report.json"}
    linked = {a["href"] for tag, a in page.elements if tag == "a" and a["href"][0] != "#"}
    assert linked == on_disk - {"index.html"}
    for path in site.glob("data/*.csv"):
        with path.open(newline="") as file:
            header, *rows = list(csv.reader(file))
        records = json.loads(path.with_suffix(".json").read_text())
        assert len(records) == len(rows) > 0, path
        assert all(list(record) == header for record in records)


def test_the_figures_data_are_those_of_the_predictions(site, runs):
    scores = found_scores(runs / "poor")
    cells = json.loads((site / "data" / "A-poor-confusion.json").read_text())
    assert [cell["pictures"] for cell in cells] == [n for row in scores["confusion"] for n in row]
    points = json.loads((site / "data" / "A-ROC-ALL.json").read_text())
    own = [point for point in points if point["name"] == "poor"]
    area = sum(
        (b["false_positive_rate"] - a["false_positive_rate"])
        * (a["true_positive_rate"] + b["true_positive_rate"])
        / 2
        for a, b in itertools.pairwise(own)
    )
    assert area == pytest.approx(scores["auroc"])
    subjects = json.loads((site / "data" / "A-poor-subjects.json").read_text())
    assert len(subjects) == 40
    assert sum(one["right"] for one in subjects) == round(scores["accuracy"] * scores["examples"])


def test_the_page_is_the_same_every_time(site, runs, tmp_path):
    made([runs / "good", runs / "poor", runs / "hostile"], tmp_path)
    for name in ("index.html", "report.json"):
        assert (tmp_path / name).read_bytes() == (site / name).read_bytes()


def test_scores_of_an_older_version_are_shown_with_what_they_have(tmp_path):
    handmade.run(tmp_path / "old", skill=1.0)
    file = tmp_path / "old" / "evaluation" / "test-step30" / "scores.json"
    scores = json.loads(file.read_text())
    for key in ("intervals_95", "subjects", "tta"):
        scores.pop(key, None)
    file.write_text(json.dumps(scores))
    file.with_name("predictions.csv").unlink()
    (tmp_path / "old" / "journal.jsonl").unlink()
    text = made([tmp_path / "old"], tmp_path / "site")
    (row, *_) = json.loads((tmp_path / "site" / "report.json").read_text())["sets"][0]["rows"]
    assert [row["accuracy_low"], row["accuracy_high"]] == scores["wilson_95"]
    assert row["f1_macro_low"] is None
    assert "an interval of the accuracy only" in text
    markup.read(text)


def test_every_evaluation_of_a_run_is_a_row(tmp_path):
    told = handmade.run(tmp_path / "a", skill=1.0)
    handmade.score(tmp_path / "a", told, "test-step30-dihedral8", {}, tta="dihedral8")
    both = {"ensemble": "mean", "models": ["x", "y"], "members": ["a", "b"]}
    handmade.score(tmp_path / "a", told, "test-mean-1a2b3c4d", {}, **both)
    handmade.score(tmp_path / "a", told, "validation-step30", {})
    made([tmp_path / "a"], tmp_path / "site")
    rows = json.loads((tmp_path / "site" / "report.json").read_text())["sets"][0]["rows"]
    found = {row["name"]: (row["model"], row["checkpoint"]) for row in rows if row["kind"] == "run"}
    assert found == {
        "a, step30": ("densenet201", "step 30"),
        "a, step30-dihedral8": ("densenet201", "step 30, dihedral8"),
        "mean of the probabilities of a, b": ("x, y", "step 30"),
    }


def test_a_run_that_was_never_scored_is_refused_with_the_command(tmp_path):
    handmade.run(tmp_path / "a b")
    with pytest.raises(UserError) as refused:
        comparison.gather([tmp_path / "a b"], "validation")
    assert str(refused.value) == (
        f"{tmp_path}/a b was never scored on its validation side; wanted first: "
        f"python -m jaxall.evaluate '{tmp_path}/a b' --split validation"
    )


def test_all_that_were_never_scored_are_named(tmp_path):
    for name in ("a", "b"):
        handmade.run(tmp_path / name)
        shutil.rmtree(tmp_path / name / "evaluation")
    with pytest.raises(UserError, match=r"a was never scored .* \(nor were 1 others\)") as refused:
        comparison.gather([tmp_path / "a", tmp_path / "b"], "test")
    assert refused.value.details == (f"python -m jaxall.evaluate {tmp_path}/b --split test",)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("{", "the scores .*scores.json can't be read: Expecting"),
        ("[]", "the scores .*scores.json can't be read: wanted a table, got"),
        ("{}", "the scores .*scores.json are damaged: examples, accuracy, wilson_95, per_class"),
    ],
)
def test_damaged_scores_are_refused(tmp_path, content, line):
    handmade.run(tmp_path / "a")
    (tmp_path / "a" / "evaluation" / "test-step30" / "scores.json").write_text(content)
    with pytest.raises(UserError, match=line):
        comparison.gather([tmp_path / "a"], "test")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("per_class", None),
        ("confusion", "x"),
        ("confusion", [[1]]),
        ("accuracy", "x"),
        ("intervals_95", {"bounds": {}}),
        ("intervals_95", "x"),
        ("baselines", [1]),
        ("command", 5),
        ("wilson_95", [1]),
        ("examples", "x"),
    ],
)
def test_scores_of_another_kind_are_refused(tmp_path, name, value):
    handmade.run(tmp_path / "a")
    path = tmp_path / "a" / "evaluation" / "test-step30" / "scores.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(UserError, match=rf"scores.json are damaged: {name} of another kind"):
        comparison.gather([tmp_path / "a"], "test")


def test_predictions_that_were_cut_are_refused(tmp_path):
    handmade.run(tmp_path / "a")
    path = tmp_path / "a" / "evaluation" / "test-step30" / "predictions.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-3]))
    with pytest.raises(UserError, match=r"has 17 pictures, scores.json beside it is of 20"):
        comparison.gather([tmp_path / "a"], "test")


def test_a_split_that_was_cut_is_refused(tmp_path):
    handmade.run(tmp_path / "a")
    path = tmp_path / "a" / "split.csv"
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    with pytest.raises(UserError, match="no 'line for each of 60 pictures, there are 0'"):
        comparison.gather([tmp_path / "a"], "test")


def test_a_damaged_split_is_refused(tmp_path):
    handmade.run(tmp_path / "a")
    (tmp_path / "a" / "pictures.sha256").write_text("")
    with pytest.raises(UserError, match=r"split.csv and pictures.sha256 are damaged: no '0/"):
        comparison.gather([tmp_path / "a"], "test")


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty is not the folder of a run: config"):
        comparison.gather([tmp_path / "empty"], "test")


def test_folds_that_share_a_test_side_count_its_pictures_once(tmp_path):
    folder = tmp_path / "cv"
    found = []
    for fold in range(3):
        told = handmade.run(folder / f"fold{fold}", seed=fold, skill=3.0)
        found.append({"test": scores_lib.from_predictions(told)})
    spreads = spread.over_runs([one["test"] for one in found])
    summary = {"folds": found, "validation": spreads, "test": spreads, "pooled": None}
    (folder / "folds.json").write_text(scores_lib.to_json(summary))
    text = made([folder], tmp_path / "site")
    assert "20 test pictures of 4 subjects, in 3 folds." in text
    rows = json.loads((tmp_path / "site" / "data" / "A-table.json").read_text())
    assert [(row["pictures"], row["subjects"]) for row in rows if row["kind"] == "folds"] == [
        (20, 4)
    ]


def test_a_side_with_one_subject_has_no_interval_and_a_page_all_the_same(tmp_path):
    handmade.run(tmp_path / "a", class_names=("a", "b"), per_class=3, pictures=4)
    told = handmade.run(tmp_path / "b", class_names=("a", "b"), per_class=3, pictures=4, seed=1)
    lone = dataclasses.replace(told, subjects=("S1",) * len(told.names))
    shutil.rmtree(tmp_path / "a" / "evaluation")
    handmade.score(tmp_path / "a", lone, "test-step30", {"colour only": 0.4})
    text = made([tmp_path / "a", tmp_path / "b"], tmp_path / "site")
    assert "A score without an interval was the same in all draws" in text
    assert (tmp_path / "site" / "data").is_dir()


def test_a_cross_validation_that_is_not_finished_is_refused(tmp_path):
    handmade.run(tmp_path / "cv" / "fold0")
    with pytest.raises(UserError, match="cv holds 1 folds of a cross-validation that isn't fini"):
        comparison.gather([tmp_path / "cv"], "test")


def test_a_run_named_twice_counts_once_and_runs_of_one_name_are_told_apart(tmp_path):
    handmade.run(tmp_path / "x" / "a")
    handmade.run(tmp_path / "y" / "a", seed=1)
    folders = [tmp_path / "x" / "a", tmp_path / "y" / "a", tmp_path / "y" / ".." / "x" / "a"]
    (group,) = comparison.gather(folders, "test")
    assert [one.label for one in group.members] == [str(folders[0]), str(folders[1])]


def test_an_ensemble_is_called_by_its_members_and_raw_weights_by_their_name(tmp_path):
    told = handmade.run(tmp_path / "a")
    members = {"members": ["runs/a", "runs/b"], "models": ["resnet18", "vgg16"]}
    baselines = {"colour only": 0.4}
    handmade.score(tmp_path / "a", told, "test-mean-0a1b", baselines, ensemble="mean", **members)
    handmade.score(tmp_path / "a", told, "test-step30-raw", baselines, weights_kind="raw")
    text = made([tmp_path / "a"], tmp_path / "site")
    rows = json.loads((tmp_path / "site" / "data" / "A-table.json").read_text())
    found = {row["name"]: row["checkpoint"] for row in rows if row["kind"] == "run"}
    assert found == {
        "mean of the probabilities of a, b": "step 30",
        "a, step30": "step 30",
        "a, step30-raw": "step 30, raw weights",
    }
    assert "resnet18, vgg16" in text and "Sensitivity is that of ALL." in text


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    handmade.run(tmp_path / "a")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    groups = comparison.gather([tmp_path / "a"], "test")
    with pytest.raises(UserError, match="mine is not empty and holds no page of runs"):
        pages.write(groups, "test", mine, programs.quiet())
    with pytest.raises(UserError, match=r"letter.txt is a file; wanted the name of a folder"):
        pages.write(groups, "test", mine / "letter.txt", programs.quiet())
    assert [path.name for path in mine.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("was_finished", [True, False])
def test_an_older_page_gives_way_and_other_files_stay(tmp_path, was_finished):
    handmade.run(tmp_path / "a")
    handmade.run(tmp_path / "b", seed=1)
    site = tmp_path / "site"
    made([tmp_path / "a"], site)
    (site / "data" / "mine.txt").write_text("kept")
    if not was_finished:
        (site / "report.json").write_text('{"files": null}')
    made([tmp_path / "b"], site)
    assert (site / "data" / "mine.txt").read_text() == "kept"
    assert not list(site.glob("data/*-a-*")) and list(site.glob("data/*-b-*"))
