"""Reading and augmenting pictures against torch's DataLoader with torchvision v2, turn by turn.

python benchmarks/pipeline_speed.py FOLDER --pictures 1000 --pairs 5

Without a FOLDER of JPEGs, smears are drawn. Both sides read the same files in batches of uint8,
shuffled, with the augmentations of configs/densenet201.py: torch, too, would normalise later. On
one core either side is one thread of one process; on two cores jaxall reads with two threads and
torch with two processes, started before. In the first epoch both decode; afterwards jaxall has the
pictures in memory, where torch's loader decodes them again.
"""

import argparse
import importlib
import pathlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image
from rich import console, table

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.work import take_turns
from jaxall import assembly, config_flag, runtime
from jaxall import config as config_lib
from jaxall.data import decoding, keeping, pipeline, smears

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "densenet201.py"


def draw(folder: pathlib.Path, count: int, size: int) -> None:
    """Drawn smears as JPEGs."""
    for number in range(count):
        kind = smears.CLASS_NAMES[number % len(smears.CLASS_NAMES)]
        picture = smears.draw(kind, 1 + number % 4, number, size=size, seed=0)
        Image.fromarray(picture).save(folder / f"{number:04d}.jpg", quality=90)


def ours(
    source: pipeline.PictureSource, config: config_lib.Config, cores: int
) -> tuple[Callable[[], None], Callable[[], None]]:
    """An epoch that decodes, and one whose pictures are in memory."""
    settings = pipeline.LoaderSettings(threads=0 if cores == 1 else cores)

    def epoch(chosen: pipeline.Source) -> None:
        with pipeline.train_batches(
            chosen,
            transforms=config.augmentation,
            batch_size=config.train.batch_size,
            seed=0,
            settings=settings,
        ) as batches:
            for _ in range(len(chosen) // config.train.batch_size):
                next(batches)

    warm = keeping.KeptSource(source)
    for index in range(len(source)):
        warm[index]
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


def compare(paths: Sequence[str], arguments: argparse.Namespace, shown: table.Table) -> None:
    """Adds a row for each kind of epoch and number of cores."""
    config = config_flag.load(str(CONFIG))
    preprocessing = assembly.preprocessing_of(config)
    source = pipeline.PictureSource(
        paths=paths, labels=np.zeros(len(paths), np.int32), preprocessing=preprocessing
    )
    pictures = len(paths) // config.train.batch_size * config.train.batch_size
    for cores in (1, 2):
        peer = theirs(paths, config, preprocessing.image_size, cores, arguments.interpolation)
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
    arguments = parser.parse_args()
    runtime.keep_memory()
    # Only now: what was said to the C library must come before torch starts its threads.
    from tests.torchvision_cpu import torch

    torch.set_num_threads(1)
    shown = table.Table(
        title=f"images/s, medians of {arguments.pairs} turns; torch {torch.__version__}, "
        f"rotation of torchvision {arguments.interpolation}"
    )
    for heading in ("what", "jaxall", "torchvision v2", "ratio (lowest to highest)"):
        shown.add_column(heading)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or pathlib.Path(temporary)
        if arguments.folder is None:
            draw(folder, arguments.pictures, 224)
        paths = tuple(map(str, decoding.find_images(folder)[: arguments.pictures]))
        compare(paths, arguments, shown)
    console.Console(width=120).print(shown)


if __name__ == "__main__":
    main()
