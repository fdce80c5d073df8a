import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from jaxall import errors
from jaxall.evaluation import predictions

CLASSES = ("Benign", "Early", "Pre, late")
TEXT = strategies.text(strategies.characters(exclude_categories=["Cs"]))


def some(names: tuple[str, ...] = ("a.jpg", "b.jpg", "c.jpg"), **changes: object):
    fields = {
        "names": names,
        "labels": np.array([0, 2, -1]),
        "probabilities": np.array([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]),
        "class_names": CLASSES,
    }
    return predictions.Predictions(**(fields | changes))


def same(one: predictions.Predictions, other: predictions.Predictions) -> bool:
    return (
        one.names == other.names
        and one.subjects == other.subjects
        and one.class_names == other.class_names
        and np.array_equal(one.labels, other.labels)
        and one.probabilities.tobytes() == other.probabilities.tobytes()
    )


def test_the_likeliest_class_is_predicted_and_the_first_of_equals():
    assert some().predicted.tolist() == [0, 0, 2]
    even = np.full((3, 3), 1 / 3)
    assert some(probabilities=even).predicted.tolist() == [0, 0, 0]


def test_unlabelled_pictures_are_not_in_the_confusion_matrix():
    confusion = some().confusion()
    assert confusion.dtype == np.int64
    assert confusion.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_arrays_are_copies_that_nobody_can_change():
    labels = np.array([0, 1, 2], np.int32)
    made = some(labels=labels)
    labels[0] = 1
    assert made.labels.tolist() == [0, 1, 2]
    assert (made.labels.dtype, made.probabilities.dtype) == (np.int64, np.float64)
    with pytest.raises(ValueError, match="read-only"):
        made.probabilities[0, 0] = 0.5


def test_float32_probabilities_are_taken_as_they_are():
    row = np.array([[0.1, 0.2, 0.7]] * 3, np.float32)
    np.testing.assert_array_equal(some(probabilities=row).probabilities, row.astype(np.float64))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array([0, 1])}, r"labels \[3\], got int64 \(2,\)"),
        ({"labels": np.array([0.0, 1.0, 2.0])}, r"whole-number labels \[3\], got float64"),
        ({"labels": np.array([0, 1, 3])}, r"labels in -1..2 for 3 classes, got 0..3"),
        ({"labels": np.array([-2, 1, 2])}, r"labels in -1..2 for 3 classes, got -2..2"),
        ({"probabilities": np.ones((3, 2)) / 2}, r"probabilities \[3,3\], got float64 \(3, 2\)"),
        ({"probabilities": np.eye(3, dtype=int)}, r"floating-point probabilities"),
        ({"probabilities": np.eye(3) * 0.99}, r"3 of 3 rows .* first a.jpg: \[0.99, 0.0, 0.0\]"),
        ({"probabilities": np.eye(3) * np.nan}, r"3 of 3 rows"),
        ({"probabilities": np.diag([1, 1, np.inf])}, r"1 of 3 rows .* first c.jpg"),
        ({"probabilities": np.array([[1.5, -0.5, 0], [0, 0, 1], [0, 0, 1]])}, r"1 of 3 rows"),
        ({"class_names": ("a", "b", "a")}, r"different class names, got \('a', 'b', 'a'\)"),
        ({"class_names": ("a", "b", "")}, r"different class names"),
        ({"subjects": ("S 1",)}, r"wanted 3 subjects or none, got 1"),
    ],
)
def test_what_is_no_prediction_is_refused(changes: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        some(**changes)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ValueError, match=r"class names.*; .*labels.*; .*rows"):
        some(class_names=("a", "b", "a"), labels=np.zeros(2, int), probabilities=np.eye(3) * 2)


def test_rows_may_be_off_by_rounding_and_are_not_renormalised():
    off = np.eye(3) * (1 - 9e-5)
    assert some(probabilities=off).probabilities.sum() == off.sum()


def test_a_csv_file_reads_as_people_expect(tmp_path: pathlib.Path):
    some(subjects=("S 1", "", "S 1")).save_csv(tmp_path / "new folder" / "test.csv")
    assert (tmp_path / "new folder" / "test.csv").read_bytes() == (
        b'path,subject,label,predicted,p_Benign,p_Early,"p_Pre, late"\r\n'
        b"a.jpg,S 1,Benign,Benign,0.7,0.2,0.1\r\n"
        b'b.jpg,,"Pre, late",Benign,0.5,0.25,0.25\r\n'
        b'c.jpg,S 1,,"Pre, late",0.0,0.0,1.0\r\n'
    )
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["test.csv"]


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    names=strategies.lists(TEXT, max_size=5),
    classes=strategies.lists(TEXT.filter(bool), min_size=2, max_size=5, unique=True),
    seed=strategies.integers(0, 2**32 - 1),
)
def test_a_csv_file_reads_back_bit_for_bit_whatever_the_names(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], classes: list[str], seed: int
):
    generator = np.random.default_rng(seed)
    scale = generator.choice([0.01, 1, 200])  # up to probabilities that are subnormal or 0
    logits = generator.normal(size=(len(names), len(classes))) * scale
    powers = np.exp(logits - logits.max(1, keepdims=True))
    made = predictions.Predictions(
        names=tuple(names),
        subjects=tuple(reversed(names)),
        labels=generator.integers(-1, len(classes), len(names)),
        probabilities=powers / powers.sum(1, keepdims=True),
        class_names=tuple(classes),
    )
    path = tmp_path_factory.mktemp("csv") / "p.csv"
    made.save_csv(path)
    assert same(predictions.load_csv(path), made)


@pytest.mark.parametrize(
    "name",
    [
        "a,b.jpg",
        'a"b.jpg',
        "a\nb.jpg",
        "a\r\nb.jpg",
        "a\rb.jpg",
        "血液/β.jpg",
        "=1+1.jpg",
        "\udce9.jpg",
        "",
    ],
)
def test_awkward_names_survive_unchanged(tmp_path: pathlib.Path, name: str):
    made = some(names=(name, "@b.jpg", "-c.jpg"))
    made.save_csv(tmp_path / "p.csv")
    assert same(predictions.load_csv(tmp_path / "p.csv"), made)


def test_subjects_are_unknown_unless_they_are_named():
    assert some().subjects == ("", "", "")
    assert some(subjects=["S 1", "", "S 2"]).subjects == ("S 1", "", "S 2")


def test_a_table_that_knows_of_no_subjects_is_read_too(tmp_path: pathlib.Path):
    path = tmp_path / "p.csv"
    path.write_text("path,label,predicted,p_a,p_b\nx,,b,0.25,0.75\n", encoding="utf-8")
    found = predictions.load_csv(path)
    assert (found.names, found.subjects, found.labels.tolist()) == (("x",), ("",), [-1])
    assert found.probabilities.tolist() == [[0.25, 0.75]]


def test_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path: pathlib.Path):
    path = tmp_path / "p.csv"
    some().save_csv(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\r\n", b"\n") + b"\n\n")
    assert same(predictions.load_csv(path), some())


def test_an_existing_file_is_replaced_whole_or_left_alone(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "p.csv"
    path.write_text("before", encoding="utf-8")

    def disk_full(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(predictions.os, "replace", disk_full)
        with pytest.raises(OSError, match="no space left"):
            some().save_csv(path)
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]
    some().save_csv(path)
    assert same(predictions.load_csv(path), some())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"wanted columns path, subject, label, predicted, p_<class>... .*, found \[\]"),
        ("path,subject,predicted,p_a,p_b\n", r"wanted columns .* found \['path', 'subject', 'pred"),
        ("path,subject,label,predicted,p_a,p_b\nx,a,a,1,0\n", r"wanted 6 cells, found 5"),
        ("path;label;predicted;p_a;p_b\n", r"wanted columns .* found \['path;label"),
        ("path,label,predicted,a,b\n", r"wanted columns"),
        ("path,label,predicted,p_a\n", r"two or more different class names, got \('a',\)"),
        ("path,label,predicted,p_a,p_b\nx,a,a,1\n", r"picture 1 \(x\): wanted 5 cells, found 4"),
        ("path,label,predicted,p_a,p_b\nx,c,a,1,0\n", r"\('a', 'b'\), found 'c' and 'a'"),
        ("path,label,predicted,p_a,p_b\nx,a,,1,0\n", r"found 'a' and ''"),
        ("path,label,predicted,p_a,p_b\nx,a,b,1,0\n", r"predicted is 'b', but .* \[1.0, 0.0\]"),
        ("path,label,predicted,p_a,p_b\nx,a,a,1,zero\n", r"picture 1 \(x\): could not convert"),
        ("path,label,predicted,p_a,p_b\nx,a,a,0.9,0.2\n", r"1 of 1 rows"),
        ("path,label,predicted,p_a,p_b\nx,a,a,nan,0.2\n", r"picture 1 \(x\)|1 of 1 rows"),
        ('path,label,predicted,p_a,p_b\n"x,a,a,1,0\n', r"can't be read: unexpected end of data"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_in_one_line(
    tmp_path: pathlib.Path, text: str, message: str
):
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(errors.UserError, match=message) as caught:
        predictions.load_csv(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_a_users_error(tmp_path: pathlib.Path):
    with pytest.raises(errors.UserError, match=r"can't be read: .*No such file"):
        predictions.load_csv(tmp_path / "none.csv")
