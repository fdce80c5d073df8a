"""How values stand in the page, and the files of its tables."""

import csv
import json
import math
import tomllib
from xml.etree import ElementTree

import numpy as np
import pytest

from jaxall.errors import UserError
from jaxall.evaluation import predictions
from jaxall.reporting import downloads, figures, inline, page, page_folder, plots
from tests import programs

NAMES = ('<b>"bold"</b>', "$x$ & \x07\ud800 y")


def some(seed: int = 0, skill: float = 1.0) -> predictions.Predictions:
    generator = np.random.default_rng(seed)
    labels = np.arange(40) % 2
    powers = np.exp(generator.normal(size=(40, 2)) + skill * np.eye(2)[labels])
    return predictions.Predictions(
        names=tuple(map(str, range(40))),
        labels=labels,
        probabilities=powers / powers.sum(1, keepdims=True),
        class_names=NAMES,
    )


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (1000, "1,000"),
        (0.25, "0.25"),
        (1e-4, "0.0001"),
        (None, "–"),  # noqa: RUF001 - the en dash is meant
        (math.nan, "–"),  # noqa: RUF001
        (True, "True"),
        ("a b", "a b"),
        ([0.5, 2], "0.5, 2"),
        ([], "none"),
    ],
)
def test_a_value_is_shown_in_few_characters(found, text):
    assert page.value(found) == text


@pytest.mark.parametrize(
    ("name", "row", "text"),
    [
        ("accuracy", {"accuracy_low": 0.5, "accuracy_high": 0.75}, "50.0 to 75.0"),
        ("kappa", {"kappa_low": -0.1, "kappa_high": 0.75}, "-0.100 to 0.750"),
        ("accuracy", {"accuracy_deviation": 0.0125}, "± 1.2"),
        ("accuracy", {"accuracy_deviation": math.nan}, ""),
        ("accuracy", {"accuracy_low": math.nan, "accuracy_high": math.nan}, ""),
        ("accuracy", {}, ""),
    ],
)
def test_an_interval_has_its_scores_unit(name, row, text):
    assert page.bounds(row, name) == text


def test_a_drawing_is_the_same_every_time_and_keeps_its_texts(tmp_path):
    texts = []
    for name in ("a.svg", "b.svg"):
        plots.confusion_matrix([[3, 1], [0, 4]], NAMES, tmp_path / name)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    found = "".join(ElementTree.fromstring(texts[0]).itertext())
    assert '"bold"' in found and "$x$ &" in found and r"\x07\ud800" in found


def test_a_drawing_in_a_page_names_no_address_and_only_ids_of_its_own(tmp_path):
    figures.roc({"first": some(), "second": some(1)}, 1, tmp_path / "roc.svg")
    text = inline.embed((tmp_path / "roc.svg").read_text(), "A-roc", 'a "label"')
    root = ElementTree.fromstring(text)
    assert root.tag == "svg" and root.get("aria-label") == 'a "label"'
    assert "http" not in text and "<style" not in text and "metadata" not in text
    ids = [one.get("id") for one in root.iter() if one.get("id")]
    assert ids and all(one.startswith("A-roc-") for one in ids)
    assert root.get("viewBox") and root.get("width") is None


@pytest.mark.parametrize(("skill", "is_enlarged"), [(1.0, False), (6.0, True)])
@pytest.mark.parametrize("draw", [figures.roc, figures.precision_recall])
def test_curves_that_hug_the_corner_are_enlarged_and_say_so(tmp_path, draw, skill, is_enlarged):
    draw({"first": some(skill=skill), "other": some(1, skill)}, 1, tmp_path / "a.svg")
    texts = list(ElementTree.fromstring((tmp_path / "a.svg").read_text()).itertext())
    assert ("corner, enlarged" in texts) == is_enlarged
    assert any(text.startswith("first (") for text in texts)
    assert any(text.startswith("other (") for text in texts)


def test_tables_are_read_back_as_they_were(tmp_path):
    records = [{"a": 1, "b": math.nan, "left out": [1]}, {"a": 'x, "y"\n', "c": math.inf}]
    downloads.save(downloads.of_records(records), tmp_path / "table")
    with (tmp_path / "table.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["a", "b", "c"], ["1", "", ""], ['x, "y"\n', "", ""]]
    found = json.loads((tmp_path / "table.json").read_text())
    empty = {"b": None, "c": None}
    assert found == [{"a": 1, **empty}, {"a": 'x, "y"\n', **empty}]


def test_names_of_files_are_safe_and_never_taken_twice(tmp_path):
    folder = page_folder.PageFolder(tmp_path / "site")
    table = downloads.of_records([{"a": 1}])
    stems = [folder.table(name, "what", table) for name in ("../a b", "a/b", "A.b", "ü", 300 * "x")]
    assert stems[:3] == ["data/a-b", "data/a-b-2", "data/A-b-3"]
    assert len(set(stems)) == 5 and max(map(len, stems)) < 120
    assert {path.parent for path in tmp_path.rglob("*.csv")} == {tmp_path / "site" / "data"}


@pytest.mark.parametrize("listed", ['{"files": ["../precious.csv"]}', '{"files": ["notes.csv"]}'])
def test_only_files_that_a_page_writes_are_taken_away(tmp_path, listed):
    site = tmp_path / "site"
    site.mkdir()
    for path in (tmp_path / "precious.csv", site / "notes.csv"):
        path.write_text("kept")
    (site / "report.json").write_text(listed)
    page_folder.PageFolder(site)
    assert (tmp_path / "precious.csv").read_text() == (site / "notes.csv").read_text() == "kept"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": 3}'])
def test_a_report_json_of_someone_else_is_no_page(tmp_path, content):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(UserError, match="is not empty and holds no page of runs: choose another"):
        page_folder.PageFolder(tmp_path)


def test_the_template_is_packed_with_the_code():
    for name in (page.TEMPLATE, page.STYLE, page.SCRIPT):
        assert (programs.ROOT / "jaxall" / "reporting" / name).is_file()
    made = tomllib.loads((programs.ROOT / "pyproject.toml").read_text())
    # A wheel holds every file of the package, not only those of Python.
    assert made["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["jaxall"]}
    assert any(one.startswith("jinja2>=") for one in made["project"]["dependencies"])
