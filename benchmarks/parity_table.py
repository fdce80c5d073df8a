"""How closely every architecture agrees with torchvision, block by block, in one table.

python benchmarks/parity_table.py --file efficientnet_b0=weights/trained.pth

Weights and running statistics are the tests' hostile ones; a file's own where one is given.
"""

import argparse
import pathlib
import sys
import time

from rich import console, table

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from jaxall import models
from jaxall import port as command
from jaxall.weights import parity, port
from tests import hostile, quick
from tests.golden import file as golden
from tests.golden import make


def of_hostile(name: str) -> tuple[parity.Agreement, float]:
    """With the weights of the golden files on two random pictures; and the seconds it took."""
    start = time.perf_counter()
    spec, (network, _) = models.find(name), make.hostile_network(name)
    variables = port.port(spec, {key: x.numpy() for key, x in network.state_dict().items()})
    images = hostile.images(make.IMAGE_SIZE)
    agreement = parity.compare(spec, variables, network, images, quick.options())
    return agreement, time.perf_counter() - start


def of_file(name: str, path: pathlib.Path) -> tuple[parity.Agreement, float]:
    """With a file's weights, as `jaxall.port --verify` does it; and the seconds it took.

    On drawn smears: trained weights amplify what is far from a picture, and on noise torch in
    float32 is itself 7e-5 away from torch in float64.
    """
    start = time.perf_counter()
    spec = models.find(name)
    agreement = command.verify(spec, path, port.load(spec, path))
    return agreement, time.perf_counter() - start


def add(shown: table.Table, label: str, agreement: parity.Agreement, seconds: float) -> None:
    """A row."""
    block, share = agreement.worst
    values = (f"{agreement.logits:.1e}", f"{share:.1e}", block.removeprefix("backbone/"))
    shown.add_row(label, *values, str(len(agreement.blocks)), f"{seconds:.0f}")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(golden.NAMES))
    parser.add_argument("--file", action="append", default=[], metavar="NAME=PATH")
    arguments = parser.parse_args()
    title = "largest difference from torchvision, as a share of the largest value"
    shown = table.Table(title=title, box=None, title_justify="left")
    for column in ("model", "logits", "worst block", "", "blocks", "seconds"):
        shown.add_column(column, justify="left" if column in ("model", "") else "right")
    for name in arguments.names:
        add(shown, name, *of_hostile(name))
    for pair in arguments.file:
        name, _, path = pair.partition("=")
        add(shown, f"{name}, {pathlib.Path(path).name}", *of_file(name, pathlib.Path(path)))
    console.Console(width=140).print(shown)


if __name__ == "__main__":
    main()
