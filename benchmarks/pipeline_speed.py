"""Reading and augmenting pictures against torch's DataLoader with torchvision v2, turn by turn.

python benchmarks/pipeline_speed.py FOLDER --pictures 1000 --pairs 5

Without a FOLDER of JPEGs, smears are drawn. Both sides read the same files in batches of uint8,
shuffled, with the augmentations of configs/densenet201.py: torch, too, would normalise later. On
one core either side is one thread of one process; on two cores jaxall reads with two threads and
torch with two processes, started before. In the first epoch both decode; afterwards jaxall has the
pictures in memory, where torch's loader decodes them again.

python benchmarks/pipeline_speed.py FOLDER --pictures 500 --transforms

shows instead what each transform costs, alone and in sets, with the pictures in memory and on one
core; torch has no part in it.
"""

import argparse
import importlib
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image
from rich import console, table

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.work import seconds, take_turns
from jaxall import config as config_lib
from jaxall import config_flag, runtime
from jaxall.data import decoding, keeping, pipeline, smears, transforms
from jaxall.runs import assembly

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "densenet201.py"


def draw(folder: pathlib.Path, count: int, size: int) -> None:
    """Drawn smears as JPEGs."""
    for number in range(count):
        kind = smears.CLASS_NAMES[number % len(smears.CLASS_NAMES)]
        picture = smears.draw(kind, 1 + number % 4, number, size=size, seed=0)
        Image.fromarray(picture).save(folder / f"{number:04d}.jpg", quality=90)


def source_of(paths: Sequence[str], config: config_lib.Config) -> pipeline.PictureSource:
    """The pictures, preprocessed for the config's network."""
    return pipeline.PictureSource(
        paths=paths,
        labels=np.zeros(len(paths), np.int32),
        preprocessing=assembly.preprocessing_of(config),
    )


def read_once(
    source: pipeline.Source, augmentation: Sequence[Any], batch_size: int, cores: int
) -> None:
    """An epoch."""
    with pipeline.train_batches(
        source,
        transforms=augmentation,
        batch_size=batch_size,
        seed=0,
        settings=pipeline.LoaderSettings(threads=0 if cores == 1 else cores),
    ) as batches:
        for _ in range(len(source) // batch_size):
            next(batches)


def in_memory(source: pipeline.PictureSource) -> keeping.KeptSource:
    """With all pictures decoded."""
    warm = keeping.KeptSource(source)
    for index in range(len(source)):
        warm[index]
    return warm


def ours(
    source: pipeline.PictureSource, config: config_lib.Config, cores: int
) -> tuple[Callable[[], None], Callable[[], None]]:
    """An epoch that decodes, and one whose pictures are in memory."""

    def epoch(chosen: pipeline.Source) -> None:
        read_once(chosen, config.augmentation, config.train.batch_size, cores)

    warm = in_memory(source)
    return lambda: epoch(keeping.KeptSource(source)), lambda: epoch(warm)


def theirs(
    paths: Sequence[str], config: config_lib.Config, size: int, cores: int, interpolation: str
) -> Callable[[], None]:
    """An epoch; it decodes every time."""
    from tests.torchvision_cpu import torch

    v2 = importlib.import_module("torchvision.transforms.v2")
    kinds = {
        "Rotate": lambda x: v2.RandomRotation(x.degrees, v2.InterpolationMode(interpolation)),
        "FlipHorizontal": lambda x: v2.RandomHorizontalFlip(x.probability),
        "FlipVertical": lambda x: v2.RandomVerticalFlip(x.probability),
        "Brightness": lambda x: v2.ColorJitter(brightness=x.strength),
        "Contrast": lambda x: v2.ColorJitter(contrast=x.strength),
    }
    # on PIL's pictures these are faster than on tensors
    augment = v2.Compose([kinds[type(x).__name__](x) for x in config.augmentation])
    to_tensor = v2.PILToTensor()

    class Files(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            with Image.open(paths[index]) as opened:
                image = opened.convert("RGB")
            if image.size != (size, size):
                image = image.resize((size, size), Image.Resampling.BILINEAR)
            return to_tensor(augment(image)), 0

    workers = 0 if cores == 1 else cores
    loader = torch.utils.data.DataLoader(
        Files(),
        config.train.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


# what augments: the sets of the two reports that this work began with, and one for a smear in use
SETS = {
    "seed000": (
        config_lib.Rotate(degrees=20.0),
        config_lib.FlipHorizontal(),
        config_lib.FlipVertical(),
        config_lib.Brightness(),
        config_lib.Contrast(),
    ),
    "seed003": (
        config_lib.RandomCrop(),
        config_lib.FlipHorizontal(),
        config_lib.FlipVertical(),
        config_lib.Gamma(),
        config_lib.Brightness(),
        config_lib.Contrast(),
    ),
    "field": (
        config_lib.Rotate(degrees=180.0),
        config_lib.Shift(),
        config_lib.StainJitter(),
        config_lib.Blur(),
        config_lib.Noise(),
        config_lib.Cutout(),
    ),
}


def each_transform(paths: Sequence[str], arguments: argparse.Namespace, shown: table.Table) -> None:
    """Adds a row for the plain pipeline, for each transform and for each set, on one core."""
    config = config_flag.load(str(CONFIG))
    source = in_memory(source_of(paths, config))
    chains = {"plain": (), **{x: (kind(),) for x, kind in transforms.by_name.items()}, **SETS}
    size = config.train.batch_size

    def turn() -> dict[str, float]:
        """Each after the other, so that a slow minute of the machine slows them all."""
        return {
            name: seconds(lambda chain=chain: read_once(source, chain, size, 1))
            for name, chain in chains.items()
        }

    turn()
    turns = [turn() for _ in range(arguments.pairs)]
    pictures = len(paths) // size * size
    plain = statistics.median(taken["plain"] for taken in turns)
    for name in chains:
        median = statistics.median(taken[name] for taken in turns)
        cost = f"{1e3 * (median - plain) / pictures:.2f}" if name != "plain" else ""
        shown.add_row(name, f"{pictures / median:,.0f}", f"{plain / median:.2f}", cost)


def compare(paths: Sequence[str], arguments: argparse.Namespace, shown: table.Table) -> None:
    """Adds a row for each kind of epoch and number of cores."""
    config = config_flag.load(str(CONFIG))
    source = source_of(paths, config)
    size = source.preprocessing.image_size
    pictures = len(paths) // config.train.batch_size * config.train.batch_size
    for cores in (1, 2):
        peer = theirs(paths, config, size, cores, arguments.interpolation)
        for what, mine in zip(
            ("both decode", "ours from memory"), ours(source, config, cores), strict=True
        ):
            mine()
            peer()
            turns = take_turns(mine, peer, arguments.pairs)
            shown.add_row(
                f"{what}, {cores} core{'s' if cores > 1 else ''}",
                *(f"{pictures / x:.0f}" for x in turns.medians),
                str(turns),
            )


def headed(arguments: argparse.Namespace) -> table.Table:
    """The table without its rows."""
    if arguments.transforms:
        shown = table.Table(title=f"from memory, one core, medians of {arguments.pairs} turns")
        headings = ("what augments", "images/s", "of the plain pipeline's", "ms a picture")
    else:
        # Only now: what was said to the C library must come before torch starts its threads.
        from tests.torchvision_cpu import torch

        torch.set_num_threads(1)
        shown = table.Table(
            title=f"images/s, medians of {arguments.pairs} turns; torch {torch.__version__}, "
            f"rotation of torchvision {arguments.interpolation}"
        )
        headings = ("what", "jaxall", "torchvision v2", "ratio (lowest to highest)")
    for heading in headings:
        shown.add_column(heading)
    return shown


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=pathlib.Path)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument(
        "--interpolation",
        choices=("bilinear", "nearest"),
        default="bilinear",
        help="of torchvision's rotation; jaxall's is bilinear, torchvision's default nearest",
    )
    parser.add_argument(
        "--transforms", action="store_true", help="what each costs, in place of the comparison"
    )
    arguments = parser.parse_args()
    runtime.keep_memory()
    measure, shown = (each_transform if arguments.transforms else compare), headed(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or pathlib.Path(temporary)
        if arguments.folder is None:
            draw(folder, arguments.pictures, 224)
        paths = tuple(map(str, decoding.find_images(folder)[: arguments.pictures]))
        measure(paths, arguments, shown)
    console.Console(width=120).print(shown)


if __name__ == "__main__":
    main()
