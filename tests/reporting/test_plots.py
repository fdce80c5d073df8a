import io
import math
import pathlib
import subprocess
import sys
from collections.abc import Callable
from concurrent import futures

import numpy as np
import pytest
from PIL import Image

from jaxall.evaluation import predictions, subjects
from jaxall.reporting import by_subject, contact_sheets, course, plots, reliability

AWKWARD = ("Benign $x$ and $y$", "_Early pre-B acute lymphoblastic leukemia, unclassified")


def some(class_names: tuple[str, ...], absent: int = 0, skill: float = 3.0):
    generator = np.random.default_rng(0)
    k = len(class_names)
    labels = generator.integers(0, k - absent, 60)
    logits = generator.normal(size=(60, k)) + skill * np.eye(k)[labels]
    powers = np.exp(logits)
    return predictions.Predictions(
        names=tuple(map(str, range(60))),
        labels=labels,
        probabilities=powers / powers.sum(1, keepdims=True),
        class_names=class_names,
        subjects=tuple(f"S$ {i % 11} {labels[i] if i % 2 else ''}" for i in range(60)),
    )


def epochs(count: int) -> list[dict]:
    return [
        {
            "epoch": n + 1,
            "train_loss": 2 * 0.7**n,
            "validation_loss": 2 * 0.8**n,
            "train_accuracy": 1 - 0.7**n,
            "validation_accuracy": 1 - 0.8**n,
            "validation_f1_macro": 1 - 0.9**n,
            "learning_rate": 1e-3 * 0.9**n,
        }
        for n in range(count)
    ]


def pictures(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (224, 224, 3), np.uint8) for _ in range(count)]


DRAWINGS: dict[str, Callable[[pathlib.Path], None]] = {
    "confusion": lambda path: plots.confusion_matrix(
        some(AWKWARD).confusion(), AWKWARD, path, "a $5 title"
    ),
    "roc": lambda path: plots.roc(some(AWKWARD), path, "title"),
    "pr": lambda path: plots.precision_recall(some(AWKWARD), path, "title"),
    "reliability": lambda path: reliability.diagram(some(AWKWARD), path, "title"),
    "subjects": lambda path: by_subject.accuracies(
        subjects.of(some(AWKWARD, skill=0.5)), AWKWARD, path, "title"
    ),
    "curves": lambda path: course.learning_curves(epochs(5), path),
    "sheet": lambda path: contact_sheets.draw(pictures(3), ["a\nb", "$1 or $2", ""], path),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_plot_is_a_png_that_comes_out_the_same_every_time(name: str, tmp_path: pathlib.Path):
    one, other = tmp_path / "new folder" / "one.png", tmp_path / "other.png"
    DRAWINGS[name](one)
    DRAWINGS[name](other)
    assert one.read_bytes() == other.read_bytes()
    assert [path.name for path in one.parent.iterdir()] == ["one.png"]
    with Image.open(one) as image:
        assert image.format == "PNG"
        assert set(image.info) <= {"dpi"}
        assert image.info["dpi"] == pytest.approx((144, 144), abs=0.1)
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 10


def test_threads_may_draw_at_once(tmp_path: pathlib.Path):
    DRAWINGS["roc"](tmp_path / "alone.png")
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    with futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(DRAWINGS["roc"], paths))
    alone = (tmp_path / "alone.png").read_bytes()
    assert all(path.read_bytes() == alone for path in paths)


def test_pyplot_is_not_imported_for_it():
    ours = "from jaxall.reporting import course, plots"
    code = f"import sys; {ours}; print('matplotlib.pyplot' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert printed.stdout.split() == [b"False"]


@pytest.mark.parametrize("absent", [0, 1])
@pytest.mark.parametrize("k", [2, 8])
def test_any_number_of_classes_can_be_drawn(tmp_path: pathlib.Path, k: int, absent: int):
    names = tuple(f"class {i}" for i in range(k))
    made = some(names, absent, skill=0.3)
    plots.roc(made, tmp_path / "roc.png")
    plots.confusion_matrix(made.confusion().tolist(), names, tmp_path / "confusion.png")
    plots.precision_recall(made, tmp_path / "pr.png")
    reliability.diagram(made, tmp_path / "reliability.png")
    by_subject.accuracies(subjects.of(made), names, tmp_path / "subjects.png")
    drawn = sorted(tmp_path.iterdir())
    assert len(drawn) == 5
    assert all(path.stat().st_size > 0 for path in drawn)


def test_no_labelled_picture_is_no_reason_to_fail(tmp_path: pathlib.Path):
    nobody = predictions.Predictions(
        names=("a",), labels=np.array([-1]), probabilities=np.array([[0.5, 0.5]]),
        class_names=("a", "b"),
    )  # fmt: skip
    plots.roc(nobody, tmp_path / "roc.png")
    plots.confusion_matrix(nobody.confusion(), ("a", "b"), tmp_path / "confusion.png")
    plots.precision_recall(nobody, tmp_path / "pr.png")
    reliability.diagram(nobody, tmp_path / "reliability.png")
    with pytest.raises(ValueError, match="at least one subject"):
        by_subject.accuracies((), ("a", "b"), tmp_path / "subjects.png")


@pytest.mark.parametrize(
    "records",
    [
        epochs(1),
        [{"epoch": 1}],
        [{"epoch": 1, "train_loss": math.nan}, {"epoch": 2, "train_loss": math.inf}],
        [*epochs(2), {"epoch": 3, "train_loss": None, "validation_f1_macro": math.nan}],
        [{"epoch": 1, "train_loss": 0.0, "learning_rate": 0.0}, {"epoch": 2, "train_loss": -1}],
        epochs(60),
    ],
    ids=["one", "empty", "nothing finite", "gaps", "zero", "sixty"],
)
def test_learning_curves_survive_what_a_journal_may_hold(
    tmp_path: pathlib.Path, records: list[dict]
):
    course.learning_curves(records, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 0


def test_the_learning_rate_is_drawn_by_step(tmp_path: pathlib.Path, monkeypatch):
    drawn = []
    curves = course._curves
    monkeypatch.setattr(course, "_curves", lambda *x: drawn.append(x[1]) or curves(*x))
    records = [{**one, "step": 10 * (i + 1)} for i, one in enumerate(epochs(3))]
    steps = [{"step": step, "learning_rate": step / 30} for step in range(5, 31, 5)]
    course.learning_curves(records, tmp_path / "curves.png", steps=steps)
    assert [one["epoch"] for one in drawn[-1]] == pytest.approx([0.5, 1, 1.5, 2, 2.5, 3])
    course.learning_curves(epochs(3), tmp_path / "old.png", steps=steps)
    assert drawn[-1] == epochs(3)


def test_learning_curves_of_nothing_are_refused(tmp_path: pathlib.Path):
    with pytest.raises(ValueError, match="at least one epoch"):
        course.learning_curves([], tmp_path / "curves.png")


def test_a_contact_sheet_shows_its_pictures_pixel_for_pixel(tmp_path: pathlib.Path):
    images = pictures(5)
    contact_sheets.draw(images, ["one line"] * 5, tmp_path / "sheet.png", columns=3)
    sheet = np.asarray(Image.open(io.BytesIO((tmp_path / "sheet.png").read_bytes())))
    assert sheet.shape[:2] == (2 * (224 + 2 * 12 + 20) + 12, 3 * (224 + 12) + 12)
    for position, image in enumerate(images):
        row, column = divmod(position, 3)
        y, x = 12 + row * (224 + 2 * 12 + 20), 12 + column * (224 + 12)
        np.testing.assert_array_equal(sheet[y : y + 224, x : x + 224, :3], image)


def test_a_contact_sheet_takes_pictures_of_any_size(tmp_path: pathlib.Path):
    images = [np.zeros(shape, np.uint8) for shape in ((1, 1, 3), (500, 40, 3), (7, 900, 3))]
    contact_sheets.draw(images, ["a name without end " * 20] * 3, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 0


@pytest.mark.parametrize(("count", "captions", "columns"), [(0, 0, 3), (2, 1, 3), (1, 1, 0)])
def test_an_impossible_contact_sheet_is_refused(
    tmp_path: pathlib.Path, count: int, captions: int, columns: int
):
    with pytest.raises(ValueError, match=f"got {count} pictures, {captions} captions, {columns}"):
        contact_sheets.draw(pictures(count), ["x"] * captions, tmp_path / "s.png", columns)


def test_a_plot_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    def disk_full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(plots.os, "replace", disk_full)
    with pytest.raises(OSError, match="no space left"):
        course.learning_curves(epochs(1), tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []
