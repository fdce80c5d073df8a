import concurrent.futures
import dataclasses
import io
import json
import os
import pathlib
import pickle
import re
import shutil
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core import shuffle

from jaxall import data as data_package
from jaxall import errors
from jaxall.data import (
    ball,
    checking,
    dataset,
    decoding,
    duplicates,
    pipeline,
    preprocessing,
    splits,
    synthetic,
    tfds_builders,
    tfds_source,
    transforms,
)
from jaxall.data.tfds_builders import table

SIZE = 12
CLASS_NAMES = ("benign cell", "Früh")
UNREADABLE_NAME = os.fsdecode(b"b/\xff.png")  # not UTF-8
ORIENTATION = 0x0112
REAL = pathlib.Path(
    os.environ.get("JAXALL_DATA", pathlib.Path(__file__).parents[2] / "../shared/data")
)


def drawn(seed, channels=3, height=SIZE + 2, width=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned():
    """EXIF of a camera that lay on its side."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif


def palette(transparent=False):
    image = Image.fromarray(drawn(5)).quantize(16)
    if transparent:
        image.info["transparency"] = 3
    return image


RGB, RGBA = Image.fromarray(drawn(0)), Image.fromarray(drawn(1, channels=4))
GREY = Image.fromarray(drawn(2, channels=1)[..., 0])
# name -> a picture file; those of the second kind can't be stored as they are
KEPT = {
    "a.jpg": encoded(RGB, "JPEG"),
    "turned.jpg": encoded(RGB, "JPEG", exif=turned()),
    "grey.jpg": encoded(GREY, "JPEG"),
    "cmyk.jpg": encoded(RGB.convert("CMYK"), "JPEG"),
    "a.png": encoded(RGB, "PNG"),
    "alpha.png": encoded(RGBA, "PNG"),
    "palette.png": encoded(palette(transparent=True), "PNG"),
    "misnamed.bmp": encoded(RGB, "PNG"),
}
CONVERTED = {
    "24.bmp": encoded(RGB, "BMP"),
    "32.bmp": encoded(RGBA, "BMP"),
    "8.bmp": encoded(GREY, "BMP"),
    "palette.bmp": encoded(palette(), "BMP"),
    "1.bmp": encoded(GREY.convert("1"), "BMP"),
    "a.tif": encoded(RGB, "TIFF"),
    "turned.tif": encoded(RGB, "TIFF", exif=turned()),
    "alpha.tif": encoded(RGBA, "TIFF"),
    "pages.tif": encoded(RGB, "TIFF", save_all=True, append_images=[GREY]),
}


@pytest.fixture(autouse=True, scope="module")
def no_tensorflow():
    """Nothing here has imported it, even where it is installed."""
    yield
    assert "tensorflow" not in sys.modules


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Every kind of file, with all that a row can say, and two pictures without a label."""
    root = tmp_path_factory.mktemp("pictures")
    files = {**KEPT, **CONVERTED, "b/9.png": encoded(Image.fromarray(drawn(3)), "PNG")}
    files[UNREADABLE_NAME] = encoded(Image.fromarray(drawn(4)), "PNG")
    (root / "b").mkdir()
    for name, content in files.items():
        (root / name).write_bytes(content)
    rows = [
        dataset.Row(
            path=name,
            label=index % 2,
            subject=f"S{index // 3:02d}" if index > 4 else "",
            # Neither the paths nor the numbers are in order: the table's order is to be kept.
            number=-index if index else 2**63 - 1,
            group=f"slide {index // 4} {os.fsdecode(bytes([255]))}",
            fold=str(index % 3),
            side="test" if index % 5 == 0 else "",
        )
        for index, name in enumerate(files)
    ]
    rows, unlabelled = rows[:-2], [dataclasses.replace(row, label=-1) for row in rows[-2:]]
    return dataset.DataSet(
        name="own",
        root=root,
        class_names=CLASS_NAMES,
        rows=tuple(rows),
        unlabelled=tuple(unlabelled),
        citation="somebody, 2021",
        caveat="drawings",
        note="few",
    )


@pytest.fixture(scope="module")
def prepared(pictures, tmp_path_factory):
    """The folder of its records, on three files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "PICTURES_PER_SHARD", 7)
        return tfds_builders.build(pictures, tmp_path_factory.mktemp("records"))


@pytest.fixture
def copy(prepared, tmp_path):
    """The records, to be spoilt."""
    return pathlib.Path(shutil.copytree(prepared, tmp_path / "folder" / "1.0.0"))


@pytest.fixture(scope="module")
def smears(tmp_path_factory):
    """Drawn smears, and the same read from records."""
    root = tmp_path_factory.mktemp("smears")
    synthetic.write(root / "drawn", subjects_per_class=3, pictures_per_subject=2, size=16)
    folder = synthetic.load(root / "drawn")
    return folder, tfds_source.load(tfds_builders.build(folder, root / "records"))


def shard_names(folder):
    return sorted(path.name for path in folder.glob("*.array_record*"))


def test_the_table_comes_back_whole_and_in_order(pictures, prepared):
    again = tfds_source.load(prepared)
    assert again == dataclasses.replace(pictures, root=prepared, reader=again.reader)
    assert [row.path for row in again.unlabelled] == ["b/9.png", UNREADABLE_NAME]


def test_records_are_on_files_of_a_few_pictures_each(prepared):
    assert shard_names(prepared) == [
        "folder-train.array_record-00000-of-00003",
        "folder-train.array_record-00001-of-00003",
        "folder-train.array_record-00002-of-00003",
        "folder-unlabelled.array_record-00000-of-00001",
    ]


def test_jpeg_and_png_files_come_back_byte_by_byte(pictures, prepared):
    again = tfds_source.load(prepared)
    rows = [row for row in again.rows if row.path in KEPT] + list(again.unlabelled)
    assert len(rows) == len(KEPT) + 2
    for row in rows:
        assert again.read(row) == pictures.absolute(row).read_bytes()


@pytest.mark.parametrize("name", CONVERTED)
def test_other_files_become_pngs_of_the_same_pixels(pictures, prepared, name):
    stored = tfds_source.load(prepared).reader(name)
    assert decoding.examine(stored)[0].format == "PNG"
    np.testing.assert_array_equal(decoding.decode(stored), decoding.decode(CONVERTED[name]))


def test_tfds_itself_sees_the_pixels_of_the_files(prepared):
    # It decodes with OpenCV and applies no transparency; of the turned JPEG it is not asked.
    names = ["a.png", *CONVERTED]
    records = tfds.builder_from_directory(prepared).as_data_source("train")
    seen = {record["path"].decode(): record["image"] for record in records}
    for name in names:
        np.testing.assert_array_equal(seen[name], decoding.decode({**KEPT, **CONVERTED}[name]))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_what_is_stored_can_be_stored_again_unchanged(kind, mode):
    picture = encoded(RGB.convert(mode) if (kind, mode) != ("JPEG", "P") else RGB, kind)
    stored = table.storable(picture)
    assert table.storable(stored) == stored
    np.testing.assert_array_equal(decoding.decode(stored), decoding.decode(picture))


def test_a_split_above_the_memory_limit_of_tfds_is_written(pictures, tmp_path, monkeypatch):
    # With a `GeneratorBasedBuilder` this needs TensorFlow, at 1,000 MiB.
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 0)
    target = tfds_builders.build(pictures, tmp_path)
    assert tfds_source.load(target).rows == pictures.rows


def test_a_shard_does_not_keep_its_pictures_in_memory(pictures, tmp_path, monkeypatch):
    made = []

    class Counted(table._Once):
        def __init__(self, content):
            super().__init__(content)
            made.append(self)

    monkeypatch.setattr(table, "_Once", Counted)
    tfds_builders.build(pictures, tmp_path)
    assert len(made) == len(pictures.rows) + len(pictures.unlabelled)
    assert all(once.read() == b"" for once in made)


def test_building_tells_its_progress_and_prints_nothing(pictures, tmp_path, capfd):
    done = []
    target = tfds_builders.build(pictures, tmp_path, progress=done.append)
    assert done == list(range(1, len(pictures.rows) + len(pictures.unlabelled) + 1))
    assert target == tmp_path / "folder" / "1.0.0"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert capfd.readouterr() == ("", "")


def test_a_table_of_ones_own_may_be_called_as_a_published_one(pictures, tmp_path):
    own = dataclasses.replace(pictures, name="b_all")
    target = tfds_builders.build(own, tmp_path, name="folder")
    assert target == tmp_path / "folder" / "1.0.0"
    assert tfds_source.load(target).name == "b_all"


def test_the_same_data_set_gives_the_same_files(pictures, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "PICTURES_PER_SHARD", 7)
    again = tfds_builders.build(pictures, tmp_path)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in prepared.iterdir()
    }


def test_a_data_set_is_not_built_over_another(pictures, prepared):
    with pytest.raises(errors.UserError, match=r"wanted a new folder .*folder/1\.0\.0 is there"):
        tfds_builders.build(pictures, prepared.parents[1])


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("gone.png", None, "No such file or directory"),
        ("24.bmp", b"BM", "2 bytes that are no JPEG/PNG/BMP/TIFF"),
        ("24.bmp", CONVERTED["24.bmp"][:200], "truncated"),
    ],
)
def test_a_picture_that_cannot_be_read_is_named_and_nothing_appears(
    pictures, tmp_path, name, content, reason
):
    root = pathlib.Path(shutil.copytree(pictures.root, tmp_path / "pictures"))
    if content is not None:
        (root / name).write_bytes(content)
    rows = (*pictures.rows, dataset.Row(path=name, label=0))
    spoilt = dataclasses.replace(pictures, root=root, rows=rows)
    with pytest.raises(errors.UserError, match=f"can't read the picture {name}: .*{reason}"):
        tfds_builders.build(spoilt, tmp_path / "records")
    assert [path for path in (tmp_path / "records").rglob("*") if path.is_file()] == []


def test_a_number_of_more_than_64_bits_is_refused(pictures, tmp_path):
    row = dataclasses.replace(pictures.rows[0], number=2**63)
    spoilt = dataclasses.replace(pictures, rows=(row, *pictures.rows[1:]))
    with pytest.raises(errors.UserError, match=r"number of a\.jpg has more than 64 bits: 922"):
        tfds_builders.build(spoilt, tmp_path)


@pytest.mark.parametrize("name", [" early", "early\npre", "", "early\x85", os.fsdecode(b"\xff")])
def test_a_class_name_that_tfds_cannot_keep_is_refused(pictures, tmp_path, name):
    spoilt = dataclasses.replace(pictures, class_names=("benign", name))
    with pytest.raises(errors.UserError, match=re.escape(f"which {name!a} can't be: rename")):
        tfds_builders.build(spoilt, tmp_path)


def test_a_place_that_cannot_be_written_is_refused(pictures, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.UserError, match=r"can't write .*file/folder/1\.0\.0: Not a dir"):
        tfds_builders.build(pictures, tmp_path / "file")


def test_a_data_set_without_pictures_is_refused(pictures, tmp_path):
    with pytest.raises(errors.UserError, match="no pictures"):
        tfds_builders.build(dataclasses.replace(pictures, rows=()), tmp_path)


def unit(size=SIZE):
    return preprocessing.Preprocessing.for_model(
        size, "bilinear", (0.5,) * 3, (0.5,) * 3, normalisation="unit"
    )


def training(data_set, indices, threads, workers, steps=5):
    source = pipeline.source_of(data_set, indices, unit())
    settings = pipeline.LoaderSettings(threads=threads, workers=workers, prefetch=1)
    augmentations = (
        transforms.Rotate(degrees=20.0),
        transforms.FlipHorizontal(),
        transforms.Brightness(strength=0.1),
    )
    with pipeline.train_batches(
        source, transforms=augmentations, batch_size=4, seed=7, settings=settings
    ) as batches:
        return [next(batches) for _ in range(steps)]


def evaluation(data_set, indices, threads, workers):
    source = pipeline.source_of(data_set, indices, unit())
    settings = pipeline.LoaderSettings(threads=threads, workers=workers, prefetch=1)
    with pipeline.eval_batches(source, batch_size=5, settings=settings) as batches:
        return list(batches)


def assert_same(batches, expected):
    for batch, other in zip(batches, expected, strict=True):
        assert batch.keys() == other.keys()
        for key in batch:
            assert batch[key].dtype == other[key].dtype, key
            np.testing.assert_array_equal(batch[key], other[key], err_msg=key)


@pytest.mark.parametrize(
    "batches, threads, workers",
    [
        (training, 0, 0),
        (training, 2, 0),
        (training, 1, 1),
        (evaluation, 0, 0),
        (evaluation, 2, 0),
    ],
)
def test_both_routes_give_the_same_batches(pictures, prepared, batches, threads, workers):
    indices = range(len(pictures.rows))
    again = batches(tfds_source.load(prepared), indices, threads, workers)
    assert_same(again, batches(pictures, indices, 0, 0))


def test_both_routes_give_the_same_check_duplicates_and_split(smears):
    folder, records = smears
    looks = [checking.check(data_set) for data_set in smears]
    assert looks[0].pixels == looks[1].pixels
    assert [one.sha256 for one in looks[0].looked] == [one.sha256 for one in looks[1].looked]
    found = [duplicates.find(*pair) for pair in zip(smears, looks, strict=True)]
    assert found[0] == found[1]
    settings = splits.SplitSettings(train=0.5, validation=0.25, test=0.25, seed=3)
    split, other = (splits.make(*pair, settings) for pair in zip(smears, found, strict=True))
    assert split == other
    chosen = split.indices("train")
    assert_same(training(records, chosen, 2, 0), training(folder, chosen, 0, 0))


def test_bmp_rows_have_the_same_duplicates_on_both_routes(pictures, prepared):
    looks = [checking.check(data_set) for data_set in (pictures, tfds_source.load(prepared))]
    assert looks[0].pixels == looks[1].pixels
    np.testing.assert_array_equal(looks[0].thumbnails, looks[1].thumbnails)


def test_the_reader_pickles_small_and_unopened_and_reads_in_threads(pictures, prepared):
    again = tfds_source.load(prepared)
    first = again.read(again.rows[0])
    reader = pickle.loads(pickle.dumps(again.reader))
    assert vars(reader)["_splits"] == {} and reader("a.jpg") == first
    paths = [row.path for row in again.rows] * 10
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        read = list(pool.map(pickle.loads(pickle.dumps(reader)), paths))
    assert read == [again.reader(path) for path in paths]


def test_reading_a_path_that_is_no_record_fails_as_a_missing_file_does(prepared):
    with pytest.raises(OSError, match="no record in"):
        tfds_source.load(prepared).reader("elsewhere.png")


def test_records_that_vanish_later_fail_as_a_file_does(copy):
    data_set = tfds_source.load(copy)
    shutil.rmtree(copy)
    source = pipeline.source_of(data_set, [0], unit())
    with pytest.raises(errors.UserError, match=r"can't read the picture a\.jpg: damaged record"):
        source.picture(0)


@pytest.mark.parametrize("above", [0, 1, 2])
def test_folders_above_with_one_version_are_accepted(copy, above):
    root = (copy, *copy.parents)[above]
    shutil.copytree(copy, copy.parent / "incomplete.ABC_1.0.0")
    settings = dataset.DataSettings(name="tfds", root=str(root))
    assert data_package.load(settings).root == copy


def test_of_several_versions_one_must_be_named(copy):
    shutil.copytree(copy, copy.parent / "1.0.1")
    with pytest.raises(errors.UserError, match=r"holds 1\.0\.0, 1\.0\.1: name one"):
        tfds_source.load(copy.parent)


@pytest.mark.parametrize(
    "content, reason", [(None, "there is no folder"), ("", "holds nothing"), ("a.txt", "holds a")]
)
def test_a_folder_of_another_kind_says_how_to_make_one(tmp_path, content, reason):
    root = tmp_path / "root"
    if content is not None:
        root.mkdir()
    if content:
        (root / content).touch()
    with pytest.raises(errors.UserError, match=rf"{reason}.*prepared.*jaxall\.prepare --tfds"):
        tfds_source.load(root)


def spoil_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_tfrecord_files_are_refused_with_what_to_do(copy):
    spoil_json(copy / "dataset_info.json", fileFormat="tfrecord")
    with pytest.raises(errors.UserError, match=r"tfrecord files, .*TensorFlow.* array_record;"):
        tfds_source.load(copy)


def test_a_broken_description_is_refused(copy):
    (copy / "dataset_info.json").write_text("{")
    with pytest.raises(errors.UserError, match=r"can't read .*dataset_info\.json: ") as caught:
        tfds_source.load(copy)
    assert "\n" not in str(caught.value)


def test_records_of_other_builders_are_refused(tmp_path):
    class OtherThings(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("2.0.0")

        def _info(self):
            features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=[])}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            yield 0, {"image": KEPT["a.png"], "label": -1}

    OtherThings(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    with pytest.raises(errors.UserError, match="lack path, subject, number, group, fold, side"):
        tfds_source.load(tmp_path)


def test_missing_files_are_named(copy):
    for shard in shard_names(copy)[1:3]:
        (copy / shard).unlink()
    with pytest.raises(
        errors.UserError, match=r"2 of 4 files .*train\.array_record-00001-of-00003"
    ):
        tfds_source.load(copy)


def truncated(content):
    return content[: len(content) // 2]


def overwritten(content):
    middle = len(content) // 2
    return content[:middle] + bytes(64) + content[middle + 64 :]


@pytest.mark.parametrize("damage", [truncated, lambda content: b"", overwritten])
def test_damaged_files_are_refused(copy, damage):
    shard = copy / shard_names(copy)[0]
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(errors.UserError, match=r"damaged records in .*build it anew") as caught:
        tfds_source.load(copy)
    assert "\n" not in str(caught.value)


def test_classes_that_disagree_are_refused(copy):
    (copy / "label.labels.txt").write_text("Früh\nbenign cell\n")
    with pytest.raises(errors.UserError, match=r"classes benign cell, Früh, .* names Früh, benign"):
        tfds_source.load(copy)


def test_a_label_beyond_the_classes_is_refused(copy):
    (copy / "label.labels.txt").write_text("benign cell\n")
    spoil_json(copy / "metadata.json", class_names=["benign cell"])
    text = (copy / "features.json").read_text()
    (copy / "features.json").write_text(text.replace('"numClasses": "2"', '"numClasses": "1"'))
    with pytest.raises(errors.UserError, match=r"turned\.jpg in .* has the label 1, there are 1"):
        tfds_source.load(copy)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"class_names": 7}'])
def test_damaged_metadata_is_refused(copy, content):
    (copy / "metadata.json").write_text(content)
    with pytest.raises(errors.UserError, match=r"damaged metadata in .*build it anew|can't read"):
        tfds_source.load(copy)


def test_records_of_another_table_are_refused(copy):
    spoil_json(copy / "metadata.json", table_sha256="0" * 64)
    with pytest.raises(errors.UserError, match="aren't those that it was built with: copy it"):
        tfds_source.load(copy)


def test_the_digest_of_a_table_tells_rows_and_their_order_apart():
    one, other = dataset.Row(path="a", label=0), dataset.Row(path="a", label=0, subject="b")
    digests = {
        tfds_source.table_sha256(rows)
        for rows in [(), (one,), (other,), (one, other), (other, one)]
    }
    assert len(digests) == 5


@pytest.mark.parametrize("name", tfds_builders.BUILDERS)
def test_a_builder_is_registered_and_says_what_it_is(name, tmp_path):
    builder = tfds.builder(name, data_dir=str(tmp_path))
    assert type(builder) is tfds_builders.BUILDERS[name]
    assert str(builder.version) in builder.RELEASE_NOTES
    assert builder.info.file_format.value == "array_record"
    assert builder.info.description and "extract" in builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if name != "folder":
        assert builder.info.citation.count("@") >= 1 and builder.info.homepage == builder.HOMEPAGE
        assert builder.info.citation.count("{") == builder.info.citation.count("}")


def test_a_builder_reads_the_manual_folder(tmp_path):
    for index, name in enumerate(ball.CLASS_NAMES):
        folder = tmp_path / "manual" / "Original" / name
        folder.mkdir(parents=True)
        Image.fromarray(drawn(index)).save(folder / f"WBC-Malignant-{name}-00{index}.jpg")
    builder = tfds.builder("b_all", data_dir=str(tmp_path / "out"))
    config = tfds.download.DownloadConfig(manual_dir=str(tmp_path / "manual"))
    builder.download_and_prepare(download_config=config)
    records = tfds.data_source("b_all", split="train", data_dir=str(tmp_path / "out"))
    assert [record["label"] for record in records] == [0, 1, 2, 3]
    again, folder = tfds_source.load(tmp_path / "out"), ball.load(tmp_path / "manual")
    assert again == dataclasses.replace(folder, root=again.root, reader=again.reader)


@pytest.mark.real
@pytest.mark.skipif(not (REAL / "b_all").is_dir(), reason="no real pictures at hand")
def test_real_smears_give_the_same_batches_on_both_routes(tmp_path):
    folder = ball.load(REAL / "b_all")
    records = tfds_source.load(tfds_builders.build(folder, tmp_path))
    assert records.rows == folder.rows
    assert all(records.read(row) == folder.read(row) for row in folder.rows)
    indices = range(0, len(folder.rows), 20)
    for batches in (training, evaluation):
        assert_same(batches(records, indices, 2, 0), batches(folder, indices, 0, 0))


@pytest.mark.real
@pytest.mark.skipif(not (REAL / "cnmc_sample").is_dir(), reason="no real pictures at hand")
def test_real_bmp_cells_keep_their_pixels():
    cells = decoding.find_images(REAL / "cnmc_sample")
    assert cells
    for path in cells:
        picture = path.read_bytes()
        stored = table.storable(picture)
        assert decoding.examine(stored)[0].format == "PNG" and len(stored) < len(picture)
        np.testing.assert_array_equal(decoding.decode(stored), decoding.decode(picture))
