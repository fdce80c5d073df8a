import collections
import os
import pathlib
import shutil

import hypothesis
import pytest
from hypothesis import strategies as st
from PIL import Image

from jaxall import data as data_package
from jaxall import errors
from jaxall.data import checking, cnmc, cnmc_names, dataset, tables

# (fold, class): subjects that it holds, besides h3.
SUBJECTS = {
    ("0", "all"): 19,
    ("1", "all"): 11,
    ("2", "all"): 17,
    ("0", "hem"): 9,
    ("1", "hem"): 3,
    ("2", "hem"): 13,
}
LAYOUTS = {
    "TCIA": ("C-NMC_training_data", "C-NMC_test_prelim_phase_data", "C-NMC_test_final_phase_data"),
    "Kaggle": (
        "C-NMC_Leukemia/training_data",
        "C-NMC_Leukemia/validation_data/C-NMC_test_prelim_phase_data",
        "C-NMC_Leukemia/testing_data/C-NMC_test_final_phase_data",
    ),
    "Kaggle, nested": (
        "C-NMC_Leukemia/C-NMC_Leukemia/training_data/training_data",
        "C-NMC_Leukemia/C-NMC_Leukemia/validation_data/validation_data",
        "C-NMC_Leukemia/C-NMC_Leukemia/testing_data/testing_data",
    ),
    "TCIA, each unpacked in a folder": (
        "a/C-NMC_training_data",
        "b/C-NMC_test_prelim_phase_data/C-NMC_test_prelim_phase_data",
        "c/d/C-NMC_test_final_phase_data",
    ),
}
# A whole copy in small: 5 training cells of 3 subjects, 3 preliminary ones of 2, 2 final ones.
TRAINING = (
    "fold_0/all/UID_1_1_2_all.bmp",
    "fold_0/all/UID_1_1_1_all.bmp",
    "fold_1/hem/UID_H10_2_1_hem.bmp",
    "fold_2/hem/UID_h3_12_1_hem.bmp",
    "fold_2/hem/UID_h3_2_1_hem.bmp",
)
LABELS = (
    "UID_57_29_1_all.bmp,1.bmp,1",
    "UID_H49_35_1_hem.bmp,2.bmp,0",
    "UID_57_2_2_all.bmp,10.bmp,1",
)
PRELIMINARY = "C-NMC_test_prelim_phase_data"
HEADING = "Patient_ID,new_names,labels"


def draw(path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path, "BMP")


def build(root: pathlib.Path, layout: str = "TCIA") -> pathlib.Path:
    training, preliminary, final = (root / folder for folder in LAYOUTS[layout])
    for name in TRAINING:
        draw(training / name)
    for number in (1, 2, 10):
        draw(preliminary / f"{number}.bmp")
    for number in (10, 9):
        draw(final / f"{number}.bmp")
    write_labels(preliminary.parent)
    return root


def write_labels(folder: pathlib.Path, *lines: str, heading: str = HEADING) -> None:
    text = "\n".join((heading, *(lines or LABELS)))
    (folder / "C-NMC_test_prelim_phase_data_labels.csv").write_text(text)


def published(layout: str, case=str) -> tuple[list[str], list[tables.Line]]:
    """Paths with the published counts, made up but for the spelling of h3; and the label lines."""
    training, preliminary, final = LAYOUTS[layout]
    lower = cnmc.EXPECTED["cells of subject H3"]
    paths = [f"{training}/fold_2/hem/UID_h3_{n}_1_hem.bmp" for n in range(lower)]
    first = 100
    for (fold, kind), subjects in SUBJECTS.items():
        folder = f"fold_{fold}/{kind}"
        cells = cnmc.EXPECTED[folder] - (lower if folder == "fold_2/hem" else 0)
        letter = "H" if kind == "hem" else ""
        for n in range(cells):
            subject = f"{letter}{first + n % subjects}"
            paths.append(f"{training}/{folder}/UID_{subject}_{n}_1_{kind}.bmp")
        first += subjects
    lines = []
    for n in range(1867):
        kind = "all" if n < 1219 else "hem"
        subject = str(53 + n % 13) if kind == "all" else f"H{60 + n % 15}"
        paths.append(f"{preliminary}/{n + 1}.bmp")
        cells = {"patient_id": f"UID_{subject}_{n}_1_{kind}.bmp", "new_names": f"{n + 1}.bmp"}
        lines.append(tables.Line(number=n + 2, cells=cells | {"labels": str(int(kind == "all"))}))
    paths += [f"{final}/{n + 1}.bmp" for n in range(2586)]
    return [case(path) for path in paths], lines[::-1]


@pytest.mark.parametrize("case", [str, str.upper, str.lower])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_published_names_give_the_published_counts(layout, case):
    table = cnmc_names.rows_of(*published(layout, case))
    assert table.problems == ()
    assert cnmc.counts(table) == cnmc.EXPECTED
    assert [row.number for row in table.unlabelled] == list(range(1, 2587))
    assert {row.label for row in table.unlabelled} == {-1}
    assert len({row.path for row in (*table.rows, *table.unlabelled)}) == 15_114


@pytest.mark.parametrize(
    ("name", "subject", "number", "class_name"),
    [
        ("UID_57_29_1_all.bmp", "57", 29_001, "all"),
        ("UID_H3_10_2_hem.bmp", "H3", 10_002, "hem"),
        ("UID_h3_10_2_hem.bmp", "H3", 10_002, "hem"),
        ("uid_51_100_12_ALL.BMP", "51", 100_012, "all"),
    ],
)
def test_a_name_says_subject_order_and_class(name, subject, number, class_name):
    label = cnmc.CLASS_NAMES.index(class_name)
    assert cnmc_names.parse(name) == cnmc_names.Cell(subject=subject, number=number, label=label)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1.bmp",
        "UID_1_1_all.bmp",
        "UID_X1_1_1_all.bmp",
        "UID_1_1_1_AML.bmp",
        "UID_1_1_1_all (1).bmp",
        "aUID_1_1_1_all.bmp",
        "UID_1_1_1000_all.bmp",
        "UID_1_1_-1_all.bmp",
        "UID_\u0661_1_1_all.bmp",
    ],
)
def test_other_names_say_nothing(name):
    assert cnmc_names.parse(name) is None


@hypothesis.given(
    st.sampled_from(["", "H", "h"]), *[st.integers(0, 999)] * 3, st.sampled_from(cnmc.CLASS_NAMES)
)
@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
def test_cells_are_ordered_by_photograph_and_then_by_cell(prefix, subject, image, number, kind):
    cell = cnmc_names.parse(f"UID_{prefix}{subject}_{image}_{number}_{kind}.bmp")
    later = cnmc_names.parse(f"UID_{prefix}{subject}_{image + 1}_0_{kind}.bmp")
    assert cell is not None and later is not None
    assert cell.subject == later.subject == f"{prefix.upper()}{subject}"
    assert divmod(cell.number, 1000) == (image, number) and cell.number < later.number


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read(tmp_path, layout):
    data_set = cnmc.load(build(tmp_path, layout))
    assert data_set.class_names == ("hem", "all")
    found = [
        (row.subject, row.number, row.label, row.fold, row.side, pathlib.Path(row.path).name)
        for row in data_set.rows
    ]
    assert found == [
        ("H3", 2_001, 0, "2", "", "UID_h3_2_1_hem.bmp"),
        ("H3", 12_001, 0, "2", "", "UID_h3_12_1_hem.bmp"),
        ("H10", 2_001, 0, "1", "", "UID_H10_2_1_hem.bmp"),
        ("1", 1_001, 1, "0", "", "UID_1_1_1_all.bmp"),
        ("1", 1_002, 1, "0", "", "UID_1_1_2_all.bmp"),
        ("H49", 35_001, 0, "", "test", "2.bmp"),
        ("57", 2_002, 1, "", "test", "10.bmp"),
        ("57", 29_001, 1, "", "test", "1.bmp"),
    ]
    assert [(row.number, row.label) for row in data_set.unlabelled] == [(9, -1), (10, -1)]
    everything = dataset.DataSet(
        name="", root=data_set.root, class_names=(), rows=data_set.rows + data_set.unlabelled
    )
    assert len(checking.check(everything).looked) == 10


def test_the_rows_do_not_depend_on_how_far_above_the_root_is(tmp_path):
    build(tmp_path / "x" / "y", "Kaggle")
    draw(tmp_path / "__MACOSX" / "C-NMC_Leukemia" / "._1.bmp")
    draw(tmp_path / "x" / ".cache" / "1.bmp")
    wanted = cnmc.load(tmp_path / "x" / "y" / "C-NMC_Leukemia")
    for root in (tmp_path / "x" / "y", tmp_path / "x", tmp_path):
        data_set = cnmc.load(root)
        assert data_set.rows == wanted.rows and data_set.unlabelled == wanted.unlabelled
        assert data_set.root == wanted.root
    assert wanted.rows[0].path == "training_data/fold_2/hem/UID_h3_2_1_hem.bmp"


def test_upper_and_lower_case_do_not_matter(tmp_path):
    build(tmp_path, "Kaggle")
    for folder, names, files in os.walk(tmp_path, topdown=False):
        for name in (*names, *files):
            os.rename(os.path.join(folder, name), os.path.join(folder, name.swapcase()))
    data_set = cnmc.load(tmp_path)
    assert (len(data_set.rows), len(data_set.unlabelled)) == (8, 2)


@pytest.mark.parametrize("place", ["inside", "beside", "above"])
def test_the_label_file_may_lie_inside_beside_or_above(tmp_path, place):
    build(tmp_path, "Kaggle")
    beside = tmp_path / "C-NMC_Leukemia" / "validation_data"
    folders = {"inside": beside / "C-NMC_test_prelim_phase_data", "above": tmp_path}
    if place in folders:
        name = "C-NMC_test_prelim_phase_data_labels.csv"
        shutil.move(beside / name, folders[place] / name.lower())
    assert len(cnmc.load(tmp_path).rows) == 8


def test_the_training_folder_alone_is_enough(tmp_path):
    data_set = cnmc.load(build(tmp_path, "Kaggle") / "C-NMC_Leukemia" / "training_data")
    assert [row.path for row in data_set.rows][-1] == "fold_0/all/UID_1_1_2_all.bmp"
    assert len(data_set.rows) == 5 and data_set.unlabelled == ()
    assert "there is no C-NMC_test_prelim_phase_data, so no preliminary rows" in data_set.note


def test_without_the_label_file_the_preliminary_pictures_are_not_used(tmp_path):
    (build(tmp_path) / "C-NMC_test_prelim_phase_data_labels.csv").unlink()
    data_set = cnmc.load(tmp_path)
    assert {row.side for row in data_set.rows} == {""} and len(data_set.rows) == 5
    assert data_set.note.endswith("_labels.csv, so the preliminary pictures aren't used")


def test_labels_are_joined_by_name_whatever_the_file_looks_like(tmp_path):
    wanted = cnmc.load(build(tmp_path)).rows
    lines = [" ; ".join(reversed(line.split(","))) for line in reversed(LABELS)]
    write_labels(tmp_path, "", *lines, ";;", heading="\ufefflabels; New_Names ;PATIENT_ID")
    assert cnmc.load(tmp_path).rows == wanted


def test_an_incomplete_copy_is_used_with_one_line_that_says_what_is_missing(tmp_path):
    note = cnmc.load(build(tmp_path)).note
    assert note.startswith("not the published copy of cnmc: fold_0/hem 0 of 1,130, fold_0/all 2 of")
    for part in ("preliminary/hem 1 of 648", "final 2 of 2,586", "training subjects hem 2 of 26"):
        assert part in note
    assert "cells of subject H3 2 of 36" in note and "\n" not in note


def test_a_whole_copy_has_no_note(tmp_path, monkeypatch):
    expected = cnmc.counts(cnmc_names.rows_of(*published("TCIA")))
    found = {"fold_0/all": 2, "fold_1/hem": 1, "fold_2/hem": 2, "preliminary/hem": 1}
    found |= {"preliminary/all": 2, "final": 2, "training subjects hem": 2}
    found |= {"training subjects all": 1, "cells of subject H3": 2}
    found |= {"preliminary subjects hem": 1, "preliminary subjects all": 1}
    monkeypatch.setattr(cnmc, "EXPECTED", dict.fromkeys(expected, 0) | found)
    assert cnmc.load(build(tmp_path)).note == ""


@pytest.mark.parametrize(
    ("lines", "problems"),
    [
        (
            [LABELS[0].replace(",1.bmp,1", ",1.bmp,0"), *LABELS[1:]],
            ["line 2: '1.bmp' is UID_57_29_1_all.bmp, but its label is '0'"],
        ),
        (LABELS[1:], [f"{PRELIMINARY}/1.bmp has no line"]),
        (
            [*LABELS, "UID_H50_1_1_hem.bmp,11.bmp,1"],
            [
                "line 5: '11.bmp' is no picture there",
                "line 5: '11.bmp' is UID_H50_1_1_hem.bmp, but its label is '1'",
            ],
        ),
        (
            [*LABELS, "UID_57_29_9_all.bmp,1.bmp,1"],
            ["line 5: '1.bmp' stands in line 2 too"],
        ),
        (
            [LABELS[0], LABELS[1], "57,10.bmp,1"],
            ["line 4: '10.bmp' is '57', not something like UID_57_29_1_all.bmp"],
        ),
        (
            [LABELS[0], LABELS[1], LABELS[0].replace(",1.bmp", ",10.bmp")],
            [f"{PRELIMINARY}/10.bmp is the cell of {PRELIMINARY}/1.bmp"],
        ),
        (
            [LABELS[0], LABELS[1], "UID_1_2_2_all.bmp,10.bmp,1"],
            ["subject 1 stands in fold_0 and the preliminary set"],
        ),
        (
            [LABELS[0].replace("1_all", "1_hem"), "UID_57_29_1_hem.bmp,1.bmp,0", LABELS[2]],
            [
                "line 2: '1.bmp' is UID_57_29_1_hem.bmp, but its label is '1'",
                "line 3: '1.bmp' stands in line 2 too",
                f"{PRELIMINARY}/2.bmp has no line",
            ],
        ),
    ],
)
def test_labels_that_do_not_fit_the_pictures_are_all_listed(tmp_path, lines, problems):
    write_labels(build(tmp_path), *lines)
    with pytest.raises(errors.UserError, match=rf"^{len(problems)} things under") as caught:
        cnmc.load(tmp_path)
    assert list(caught.value.details) == problems and problems[0] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("fold_0/all/UID_H3_1_1_hem.bmp", "stands in all, its name says hem"),
        ("fold_0/all/cell.bmp", "isn't named like UID_H3_10_1_hem.bmp"),
        ("fold_3/all/UID_9_1_1_all.bmp", "stands in no folder of the data set"),
        ("fold_0/UID_9_1_1_all.bmp", "stands in no folder of the data set"),
        ("fold_1/all/UID_1_9_9_all.bmp", "subject 1 stands in fold_0 and fold_1"),
        ("fold_1/hem/UID_H3_99_9_hem.bmp", "subject H3 stands in fold_1 and fold_2"),
        ("fold_0/hem/UID_1_9_9_hem.bmp", "subject 1 has cells of all and hem"),
        ("fold_2/hem/UID_H3_12_1_hem.bmp", "is the cell of"),
        ("../C-NMC_test_final_phase_data/last.bmp", "isn't named by a number, like 1.bmp"),
        ("../C-NMC_test_prelim_phase_data/x/1.bmp", "has the name of"),
    ],
)
def test_a_picture_that_does_not_fit_is_named(tmp_path, name, problem):
    draw(build(tmp_path) / "C-NMC_training_data" / name)
    with pytest.raises(errors.UserError, match="1 things under") as caught:
        cnmc.load(tmp_path)
    assert problem in caught.value.details[0] and len(caught.value.details) == 1


def test_all_unreadable_names_are_listed_together(tmp_path):
    names = [f"fold_{n % 3}/all/{n}.bmp" for n in range(7)]
    for name in names:
        draw(build(tmp_path) / "C-NMC_training_data" / name)
    with pytest.raises(errors.UserError, match=r"7 things .*; \.\.\.\)") as caught:
        cnmc.load(tmp_path)
    found = sorted(detail.split(" ")[0] for detail in caught.value.details)
    assert found == sorted(f"C-NMC_training_data/{name}" for name in names)


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "others", "the preliminary set"])
def test_a_folder_of_something_else_says_how_to_get_the_pictures(tmp_path, left):
    root = tmp_path / "set"
    if left != "nothing":
        root.mkdir()
    if left == "others":
        draw(root / "Original" / "Pro" / "WBC-Malignant-Pro-722.bmp")
    if left == "the preliminary set":
        shutil.rmtree(build(root) / "C-NMC_training_data")
    with pytest.raises(errors.UserError, match=r"kaggle datasets download -d andrewmvd") as caught:
        cnmc.load(root)
    assert "\n" not in str(caught.value)


def test_a_class_without_pictures_is_named(tmp_path):
    draw(tmp_path / "training_data/fold_0/all/UID_1_1_1_all.bmp")
    with pytest.raises(errors.UserError, match=r"no picture of class hem .*tcia\.2019\.dc64i46r"):
        cnmc.load(tmp_path)


def test_the_registry_reads_it(tmp_path):
    data_set = data_package.load(dataset.DataSettings(name="cnmc", root=str(build(tmp_path))))
    assert data_set.name == "cnmc" and "10.7937/tcia.2019.dc64i46r" in data_set.citation
    assert "one hospital" in data_set.caveat and "over subjects" in data_set.caveat


def real(name: str) -> pathlib.Path:
    root = pathlib.Path(__file__).parents[2]
    path = pathlib.Path(os.environ.get("JAXALL_DATA", root / "../shared/data")) / name
    if not path.exists():
        pytest.skip(f"no {path}")
    return path


@pytest.mark.real
def test_the_published_names_are_parsed_without_loss():
    lines = [line.split("\t") for line in real("cnmc_manifest.tsv").read_text().splitlines()]
    paths = [path for _, _, path in lines if not path.endswith(".csv")]
    table = cnmc_names.rows_of(paths)
    counts = cnmc.counts(table)
    absent = {name for name in counts if name.startswith("preliminary")}
    assert table.problems == () and len(paths) == 15_114
    assert len(cnmc_names.sort_out(paths).preliminary) == 1_867
    assert counts == cnmc.EXPECTED | dict.fromkeys(absent, 0)
    folds = collections.Counter(row.fold for row in table.rows)
    assert folds == {"0": 3_527, "1": 3_581, "2": 3_553} and len(table.unlabelled) == 2_586
    assert sum("_h3_" in row.path for row in table.rows) == 36

    # What the caveat says of copies.
    same = collections.defaultdict(list)
    digests = {path: digest for digest, _, path in lines}
    for row in table.rows:
        same[digests[row.path]].append(row)
    pairs = [rows for rows in same.values() if len(rows) > 1]
    assert [len(rows) for rows in pairs] == [2] * 104
    assert sum(one.subject != other.subject for one, other in pairs) == 99
    assert sum(one.fold != other.fold for one, other in pairs) == 94


@pytest.mark.real
def test_the_real_sample_is_read_and_decoded():
    data_set = cnmc.load(real("cnmc_sample"))
    checked = checking.check(data_set)
    assert data_set.class_counts == {"hem": 26, "all": 26}
    assert len({row.subject for row in data_set.rows}) == 26
    assert {(one.header.width, one.header.height) for one in checked.looked} == {(450, 450)}
