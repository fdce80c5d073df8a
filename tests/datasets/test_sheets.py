"""Sheets of pictures, by what they hand over to be drawn."""

import io

import numpy as np
import pytest
from rich import console as rich_console

from jaxall import config, data
from jaxall.data import pipeline, synthetic
from jaxall.datasets import sheets
from jaxall.errors import UserError
from jaxall.reporting import contact_sheets
from jaxall.runs import assembly
from tests import programs

CHAIN = (
    config.Rotate(degrees=180.0),
    config.FlipHorizontal(probability=1.0),
    config.StainJitter(),
    config.Noise(),
)


@pytest.fixture
def made(monkeypatch, tmp_path) -> config.Config:
    programs.register_tiny(monkeypatch)
    synthetic.write(tmp_path / "drawn", subjects_per_class=1, pictures_per_subject=1, size=40)
    return programs.tiny_config(tmp_path / "drawn", CHAIN)


@pytest.fixture
def drawn(monkeypatch):
    """What contact_sheet was last called with."""
    kept = {}

    def keep(images, captions, path, columns):
        kept.update(images=images, captions=captions, path=path, columns=columns)

    monkeypatch.setattr(contact_sheets, "draw", keep)
    return kept


def test_a_sheet_shows_what_a_training_with_the_same_seed_is_fed(made, drawn, tmp_path):
    sheets.augmentation_sheet(made, tmp_path / "a.png", programs.quiet(), pictures=3, draws=6)
    rows = [drawn["images"][start : start + 7] for start in range(0, 7 * 7, 7)]
    assert len(drawn["images"]) == 7 * (3 + len(CHAIN)) == len(drawn["captions"])
    source = pipeline.source_of(data.load(made.data), range(4), assembly.preprocessing_of(made))
    with pipeline.train_batches(
        source, transforms=CHAIN, batch_size=6, seed=made.seed, settings=made.loader
    ) as batches:
        met = 0
        for label, row in enumerate(rows[:3]):
            batch = next(batches)
            for place in np.flatnonzero(batch["label"] == label):
                np.testing.assert_array_equal(row[1 + place], batch["image"][place])
                met += 1
    assert met >= 3, "or the comparison was of nothing"


def test_each_row_begins_with_the_picture_as_it_is(made, drawn, tmp_path):
    made.preprocessing.greyscale = True
    sheets.augmentation_sheet(made, tmp_path / "a.png", programs.quiet(), pictures=2, draws=3)
    source = pipeline.source_of(data.load(made.data), range(4), assembly.preprocessing_of(made))
    plain = [drawn["images"][start] for start in range(0, 4 * 6, 4)]
    for image, picture in zip(plain, (0, 1, 0, 0, 0, 0), strict=True):
        np.testing.assert_array_equal(image, source.picture(picture))
    assert drawn["columns"] == 4
    assert drawn["captions"][::4] == [
        "Benign\nas evaluation sees it",
        "Early\nas evaluation sees it",
        "Rotate alone\ndegrees 180, border reflect",
        "FlipHorizontal alone\nprobability 1",
        "StainJitter alone\nstrength 0.05",
        "Noise alone\nstrength 0.02",
    ]


def test_a_transform_has_a_row_to_itself(made, drawn, tmp_path):
    sheets.augmentation_sheet(made, tmp_path / "a.png", programs.quiet(), pictures=1, draws=2)
    plain, *flipped = drawn["images"][6:9]
    for image in flipped:
        np.testing.assert_array_equal(image, plain[:, ::-1])


def test_no_more_pictures_are_shown_than_there_are_classes(made, drawn, tmp_path):
    shown = rich_console.Console(file=io.StringIO(), width=100)
    sheets.augmentation_sheet(made, tmp_path / "a.png", shown, pictures=9, draws=1)
    assert len(drawn["images"]) == 2 * (4 + len(CHAIN))
    first, second = shown.file.getvalue().splitlines()
    assert first == (
        "tiny: 4 pictures of drawn_smears, 33 x 33, 4 transforms together and each alone"
    )
    assert second.strip() == str(drawn["path"])


def test_a_config_without_augmentation_has_nothing_to_show(made, drawn, tmp_path):
    made.augmentation = ()
    with pytest.raises(UserError, match=r"^tiny has no augmentation to show: wanted at least one"):
        sheets.augmentation_sheet(made, tmp_path / "a.png", programs.quiet())
    assert not drawn
