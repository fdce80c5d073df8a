import io
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image
from rich import console as rich_console

from jaxall import errors
from jaxall.data import audit, checking, dataset, duplicates, synthetic
from jaxall.datasets import audits


@pytest.fixture
def prepared(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder of drawn pictures, one of them a turned copy and one blank, and their audit."""
    synthetic.write(tmp_path, subjects_per_class=2, pictures_per_subject=2, size=40)
    data_set = synthetic.load(tmp_path)
    first, second, third = map(data_set.absolute, data_set.rows[:3])
    with Image.open(first) as picture:
        image = np.asarray(picture.convert("RGB"))
    Image.fromarray(np.rot90(image)).save(second)
    Image.new("RGB", (40, 40), (200, 190, 200)).save(third)
    checked = checking.check(data_set)
    found = audit.audit(data_set, checked, duplicates.find(data_set, checked))
    audit.save(found, tmp_path / audit.FILE)
    return tmp_path


def show(folder: pathlib.Path, **arguments) -> tuple[list[pathlib.Path], str]:
    output = io.StringIO()
    console = rich_console.Console(file=output, width=300)
    return audits.show(folder, console, folder / "sheets", **arguments), output.getvalue()


def test_an_audit_is_shown_with_sheets_of_what_to_look_at(prepared):
    written, said = show(prepared)
    names = [path.name for path in written]
    assert names[0] == "near-duplicates-1.png" and "blank-1.png" in names
    for path in written:
        assert str(path) in said
        with Image.open(path) as sheet:
            assert min(sheet.size) > 224
    assert said.startswith(f"audit of {synthetic.NAME}, 16 pictures")


def test_the_pictures_may_have_moved(prepared, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / audit.FILE).write_bytes((prepared / audit.FILE).read_bytes())
    moved = elsewhere / "pictures"
    shutil.move(prepared, moved)
    settings = dataset.DataSettings(name=synthetic.NAME, root=str(moved))
    written, _ = show(elsewhere, settings=settings)
    assert written and all(path.parent == elsewhere / "sheets" for path in written)


def test_an_audit_of_other_pictures_is_refused(prepared):
    found = audit.load(prepared / audit.FILE)
    found["outliers"]["blank"]["pictures"] = {"gone.png": 0.0}
    audit.save(found, prepared / audit.FILE)
    with pytest.raises(errors.UserError, match=r"can't read gone\.png under .*: No such file"):
        show(prepared)


def test_a_folder_without_an_audit_is_refused(tmp_path):
    with pytest.raises(errors.UserError, match=r"can't read the audit .*audit\.json"):
        show(tmp_path)
