import io

import pytest
from rich import console

from jaxall.reporting import audits


def shown(renderable: object, width: int = 100) -> str:
    output = io.StringIO()
    console.Console(file=output, width=width, color_system=None).print(renderable)
    return output.getvalue()


def group(*members: tuple[str, str, str]) -> dict:
    paths, classes, reasons = zip(*members, strict=True)
    return {"paths": list(paths), "classes": list(classes), "reasons": list(reasons)}


def an_audit() -> dict:
    near = "near duplicate of {} (0.971, turned by 90 degrees)"
    return {
        "name": "test",
        "root": "/pictures",
        "pictures": 1200,
        "classes": {"Benign [cd10+]": 300, "Early": 900},
        "quarantined": {},
        "duplicates": {
            "groups": [
                group(
                    ("a1", "Early", "exact duplicate of a2"),
                    ("a2", "Early", "exact duplicate of a1"),
                ),
                group(("b1", "Early", near.format("b2")), ("b2", "Early", near.format("b1"))),
                group(
                    ("c1", "Early", "exact duplicate of c2"),
                    ("c2", "Early", "exact duplicate of c1"),
                    ("c3", "Benign [cd10+]", near.format("c1")),
                ),
            ],
            "pictures": 7,
            "copies": 2,
            "near_groups": 2,
            "by_class": {"Benign [cd10+]": 1, "Early": 6},
        },
        "conflicts": [["c1", "c2", "c3"]],
        "across": {},
        "subjects": {"count": 12, "unnamed": 0, "by_class": {"Benign [cd10+]": 4, "Early": 8}},
        "kinds": [
            {
                "format": "BMP",
                "colour mode": "RGB",
                "size": "450x450",
                "classes": {"Benign [cd10+]": 300, "Early": 900},
            }
        ],
        "other_kinds": 3,
        "giveaways": {},
        "outliers": {
            "out of focus": {
                "figure": "z",
                "pictures": {f"[o]{i}": -9.0 + i / 2 for i in range(8)},
            },
            "blank": {"figure": "contrast", "pictures": {}},
        },
        "warnings": ["labels [1] disagree", "another"],
        "baselines": {"test": {"border [only]": 0.875, "commonest class": 0.75}},
    }


def row(text: str, start: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.strip().startswith(start)]
    return line.strip().removeprefix(start).split()


def test_the_summary_has_a_line_for_everything_that_was_found():
    text = shown(audits.summary(an_audit()))
    assert text.splitlines()[0].strip() == "audit of test, 1,200 pictures"
    assert row(text, "- labels [1]") == ["disagree"]
    assert row(text, "Benign [cd10+]") == ["300", "25.00%", "1", "4"]
    assert row(text, "BMP RGB 450x450") == ["300", "900"]
    assert row(text, "and 3") == ["others"]
    assert row(text, "out of focus") == ["8", "[o]0", "(-9.0)"]
    assert "[o]4 (-7.0)" in text and "[o]5" not in text
    assert row(text, "border [only]") == ["87.50%"]


def test_what_was_not_found_has_no_table():
    audit = an_audit()
    audit["subjects"]["count"] = 0
    audit["outliers"]["out of focus"]["pictures"] = {}
    del audit["baselines"]
    audit["warnings"] = []
    text = shown(audits.summary(audit))
    assert "subjects" not in text and "outliers" not in text and "accuracy" not in text
    assert "nothing to warn of" in text


@pytest.mark.parametrize("width", [60, 100])
def test_the_summary_fits_the_terminal(width: int):
    audit = an_audit()
    audit["warnings"] = ["a warning that goes on and on " * 10]
    assert max(map(len, shown(audits.summary(audit), width).splitlines())) <= width


def test_sheets_show_conflicts_then_near_copies_then_outliers():
    found = audits.sheets(an_audit())
    assert list(found) == ["conflicts-1", "near-duplicates-1", "out-of-focus-1"]
    assert found["conflicts-1"][2] == ("c3", "3: Benign [cd10+], c3")
    assert found["near-duplicates-1"] == [
        ("b1", "2: (0.971, turned by 90 degrees) b1"),
        ("b2", "2: (0.971, turned by 90 degrees) b2"),
        ("c1", "3: (exact) c1"),
        ("c2", "3: (exact) c2"),
        ("c3", "3: (0.971, turned by 90 degrees) c3"),
    ]
    assert found["out-of-focus-1"][0] == ("[o]0", "-9.00 [o]0")


def test_groups_stand_in_whole_rows_the_least_alike_first_under_short_names():
    audit = an_audit()
    audit["conflicts"] = []
    told = "near duplicate of x (0.{}, mirrored)"
    sizes = {80: 4, 70: 4, 95: 2, 85: 7, 90: 3}
    audit["duplicates"]["groups"] = [
        group(*[(f"mine/{share}/{i}.png", "Early", told.format(share)) for i in range(count)])
        for share, count in sizes.items()
    ]
    (cells,) = [cells for name, cells in audits.sheets(audit).items() if name.startswith("near")]
    assert cells[0] == ("mine/70/0.png", "2: (0.70, mirrored) 70/0.png")
    rows = [cells[i : i + audits.COLUMNS] for i in range(0, len(cells), audits.COLUMNS)]
    found = [[path.split("/")[1] if path else "" for path, _ in row] for row in rows]
    assert found == [
        ["70"] * 4 + [""] * 2,
        ["80"] * 4 + [""] * 2,
        ["85"] * 6,
        ["85", "90", "90", "90", "95", "95"],
    ]


def test_a_long_list_fills_sheets_up_to_a_limit():
    audit = an_audit()
    count = audits.ON_A_SHEET * audits.MOST_SHEETS + 5
    audit["outliers"]["blank"]["pictures"] = {f"p{i}": 0.0 for i in range(count)}
    sheets = [cells for name, cells in audits.sheets(audit).items() if name.startswith("blank")]
    assert [len(cells) for cells in sheets] == [audits.ON_A_SHEET] * audits.MOST_SHEETS
    assert [path for cells in sheets for path, _ in cells] == [
        f"p{i}" for i in range(audits.ON_A_SHEET * audits.MOST_SHEETS)
    ]


def test_a_sound_audit_has_no_sheet():
    audit = an_audit()
    audit["duplicates"]["groups"], audit["conflicts"], audit["outliers"] = [], [], {}
    assert audits.sheets(audit) == {}
