import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from jaxall import errors
from jaxall.data import audit, checking, dataset, duplicates, looking, splits


def looked_at(seed: int, size: tuple[int, int] = (16, 16), kind: str = "PNG") -> looking.Looked:
    pixels = np.random.default_rng(seed).integers(20, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return looking.look_at(file.getvalue())


def examined(
    rows: tuple[dataset.Row, ...],
    looked: list[looking.Looked],
    split: splits.Split | None = None,
    quarantined: dict[str, str] | None = None,
) -> dict:
    data_set = dataset.DataSet(
        name="test", root=pathlib.Path("/pictures"), class_names=("a", "b"), rows=rows
    )
    checked = checking.Checked(looked=tuple(looked), quarantined=quarantined or {})
    return audit.audit(data_set, checked, duplicates.find(data_set, checked), split)


def table(count: int, **columns: list) -> tuple[dataset.Row, ...]:
    """Rows p0 ... of class a, then as many of class b."""
    return tuple(
        dataset.Row(
            path=f"p{i}.png",
            **{"label": i * 2 // count, **{name: values[i] for name, values in columns.items()}},
        )
        for i in range(count)
    )


def split_of(sides: list[str]) -> splits.Split:
    return splits.Split(sides=tuple(sides), groups=("",) * len(sides), reasons=("",) * len(sides))


def test_copies_under_several_subjects_names_are_told():
    rows = table(12, subject=[f"H{i // 2}" for i in range(12)])
    looked = [looked_at(seed) for seed in range(12)]
    looked[5] = looked[0]  # of H0 and H2
    looked[7] = looked[6]  # both of H3
    found = examined(rows, looked)
    assert found["misnamed"] == [{"p0.png": "H0", "p5.png": "H2"}]
    (line,) = [line for line in found["warnings"] if "several subjects" in line]
    assert line == (
        "1 group of copies under the names of several subjects, of whom one must be wrong, or both "
        "are one; the first: p0.png of H0, p5.png of H2"
    )


def test_a_sound_set_is_warned_of_for_its_nameless_subjects_alone():
    found = examined(table(12), [looked_at(seed) for seed in range(12)])
    assert found["warnings"] == ["no subject is named: no patient split is possible"]
    assert found["classes"] == {"a": 6, "b": 6} and found["pictures"] == 12
    assert (found["name"], found["root"]) == ("test", "/pictures")
    assert found["kinds"] == [
        {"format": "PNG", "colour mode": "RGB", "size": "16x16", "classes": {"a": 6, "b": 6}}
    ]
    assert found["across"] == {} and found["conflicts"] == []


def test_copies_are_told_by_group_with_their_class_and_reason():
    looked = [looked_at(seed) for seed in (0, 1, 0, 2, 3, 2, 2, 4)]
    found = examined(table(8), looked)["duplicates"]
    assert [group["paths"] for group in found["groups"]] == [
        ["p0.png", "p2.png"],
        ["p3.png", "p5.png", "p6.png"],
    ]
    assert found["groups"][1]["classes"] == ["a", "b", "b"]
    assert found["groups"][0]["reasons"][1] == "exact duplicate of p0.png"
    assert (found["pictures"], found["copies"], found["near_groups"]) == (5, 3, 0)
    assert found["by_class"] == {"a": 3, "b": 2}


def test_copies_with_other_labels_and_on_other_sides_are_the_weightiest_warnings():
    looked = [looked_at(seed) for seed in (0, 1, 0, 2, 3, 2, 5, 4)]
    split = split_of(["train", "train", "test", "test", "train", "test", "validation", "test"])
    found = examined(table(8), looked, split)
    assert found["across"]["split"] == {"duplicates": [["p0.png", "p2.png"]], "subjects": []}
    assert found["conflicts"] == [["p3.png", "p5.png"]]
    assert found["warnings"][:2] == [
        "1 group of copies on more than one side of the split, where memory scores; "
        "the first: p0.png, p2.png",
        "1 group of copies in more than one class, where a label must be wrong; "
        "the first: p3.png, p5.png",
    ]


@pytest.mark.parametrize(
    ("column", "key", "words"),
    [("fold", "folds", "the data set's folds"), ("side", "own split", "the data set's own split")],
)
def test_copies_and_subjects_in_several_parts_of_the_data_sets_own_are_told(column, key, words):
    parts = ["x", "x", "y", "y", "", "x", "y", "y"]
    subjects = ["s", "s", "t", "s", "u", "u", "v", "v"]
    looked = [looked_at(seed) for seed in (0, 1, 1, 2, 3, 3, 4, 5)]
    found = examined(table(8, **{column: parts}, subject=subjects), looked)
    # A picture in no part is in none other than its copy's.
    assert found["across"] == {key: {"duplicates": [["p1.png", "p2.png"]], "subjects": ["s"]}}
    assert words in found["warnings"][0]
    assert found["warnings"][1].endswith(f"{words}: s")


def test_subjects_are_counted_by_class_and_by_their_pictures():
    subjects = ["s1"] * 3 + ["s2"] + ["s3"] * 2 + ["s1", ""]
    found = examined(table(8, subject=subjects), [looked_at(seed) for seed in range(8)])
    assert found["subjects"] == {
        "count": 3,
        "unnamed": 1,
        "pictures": {"least": 1, "median": 2.0, "most": 4},
        "largest": {"s1": 4, "s3": 2, "s2": 1},
        "by_class": {"a": 2, "b": 2},
        "in_several_classes": ["s1"],
    }
    assert "1 picture without a subject: each is dealt by itself" in found["warnings"]
    assert "class a has pictures of 2 subjects only" in found["warnings"]


def test_a_format_or_a_size_that_goes_with_a_class_is_a_giveaway():
    looked = [
        looked_at(seed, (16, 16 + 4 * (seed % 2)), "PNG" if seed < 8 else "BMP")
        for seed in range(16)
    ]
    found = examined(table(16), looked)
    assert found["giveaways"] == {"format": 1.0, "colour mode": 0.0, "size": 0.0}
    (warning,) = [line for line in found["warnings"] if "of the file" in line]
    assert warning == (
        "the format of the file alone tells the class of 100.0% of the pictures "
        "(commonest class: 50.0%)"
    )


def test_sizes_that_all_differ_tell_nothing():
    found = examined(table(9), [looked_at(seed, (16, 16 + seed)) for seed in range(9)])
    assert found["giveaways"]["size"] == pytest.approx(5 / 9)
    assert not any("of the file" in line for line in found["warnings"])


def test_many_kinds_of_file_are_cut_short_and_counted():
    count = audit.MOST_KINDS + 3
    found = examined(table(count), [looked_at(seed, (16, 16 + seed)) for seed in range(count)])
    assert len(found["kinds"]) == audit.MOST_KINDS and found["other_kinds"] == 3


def test_uneven_classes_quarantined_pictures_and_outliers_are_told():
    labels = [0] * 10 + [1] * 2
    looked = [looked_at(seed) for seed in range(12)]
    blank = io.BytesIO()
    Image.new("RGB", (16, 16), (90, 90, 90)).save(blank, "PNG")
    looked[4] = looking.look_at(blank.getvalue())
    found = examined(table(12, label=labels), looked, quarantined={"q.png": "truncated"})
    assert found["outliers"]["blank"]["pictures"] == {"p4.png": 0.0}
    for line in (
        "the classes are uneven: a has 10 pictures, b 2",
        "1 picture left out as unreadable: q.png",
        "1 picture blank beside the others: p4.png",
    ):
        assert line in found["warnings"]


def test_high_baselines_are_warned_of_and_low_ones_are_not():
    found = examined(table(8), [looked_at(seed) for seed in range(8)])
    scored = audit.with_baselines(
        found, {"test": {"colour only": 0.9, "border only": 0.6, "commonest class": 0.5}}
    )
    assert scored["baselines"]["test"]["border only"] == 0.6
    assert scored["warnings"][1] == (
        "what sees no cell's shape scores on the test side: colour only 90.0% "
        "(commonest class: 50.0%)"
    )
    assert "baselines" not in found


def test_an_audit_is_read_back_as_it_was_written(tmp_path: pathlib.Path):
    rows = (*table(4), dataset.Row(path="\udce9.png", label=1))
    found = examined(rows, [looked_at(seed) for seed in (0, 1, 2, 3, 3)])
    audit.save(found, tmp_path / audit.FILE)
    assert audit.load(tmp_path / audit.FILE) == found


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "can't read the audit .*: No such file"),
        ("{", "is no audit: Expecting"),
        ("[]", "is no audit: classes, .* missing"),
        (json.dumps({"name": "x"}), "is no audit: classes, .* missing"),
    ],
)
def test_what_is_no_audit_is_refused(tmp_path: pathlib.Path, content: str | None, reason: str):
    if content is not None:
        (tmp_path / audit.FILE).write_text(content)
    with pytest.raises(errors.UserError, match=reason):
        audit.load(tmp_path / audit.FILE)


def test_findings_about_another_table_are_refused():
    with pytest.raises(ValueError, match="of one table"):
        examined(table(4), [looked_at(seed) for seed in range(4)], split_of(["train"] * 3))
