"""Training step and inference against torchvision, in one run, turn by turn.

python benchmarks/step_speed.py densenet201 efficientnet_b0 --batch 16 --pairs 5
python benchmarks/step_speed.py densenet201 --precision bfloat16 --batch 32 64 128 256  # on a GPU

Both sides run alternately, and the ratio is taken pair by pair. MFU is the network's arithmetic
beside what a large matrix product reaches here in the same precision; "traffic" is the time that
the bytes XLA counts would take at the speed of a copy, as a share of the measured time.
"""

import argparse
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from rich import console, table

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks import sides
from jaxall import runtime

COLUMNS = ("model", "what", "batch", "jaxall", "torchvision", "form", "ratio", "MFU", "traffic")


def seconds(function: Callable[[], Any]) -> float:
    """Of one call."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def best_of(function: Callable[[], Any], calls: int = 5) -> float:
    """The quickest of some calls after a first one, in seconds."""
    function()
    return min(seconds(function) for _ in range(calls))


def device_speed(precision: str) -> tuple[float, float]:
    """Measured: operations per second of a matrix product, and bytes per second of a copy."""
    is_cpu = jax.default_backend() == "cpu"
    side, length = (2048, 2**26) if is_cpu else (8192, 2**29)
    matrix = jnp.ones((side, side), precision)
    vector = jnp.zeros(length, jnp.float32)
    product = jax.jit(lambda x: x @ x)
    copy = jax.jit(lambda x: x + 1)
    return (
        2 * side**3 / best_of(lambda: product(matrix).block_until_ready()),
        2 * vector.nbytes / best_of(lambda: copy(vector).block_until_ready()),
    )


def rows(work: sides.Work, forms: list[str], pairs: int) -> Iterator[list[str]]:
    """Of training and of inference, against the quickest of torch's forms."""
    mine = sides.ours(work)
    peers = {form: sides.theirs(work, form) for form in forms}
    peak, bandwidth = device_speed(work.precision)
    for what, factor, moved in (
        ("train", 3, mine.train_bytes),
        ("infer", 1, mine.infer_bytes),
    ):
        function = getattr(mine, what)
        trials = {form: best_of(getattr(peer, what), 2) for form, peer in peers.items()}
        form = min(trials, key=lambda form: trials[form])
        peer = getattr(peers[form], what)
        function()
        function()
        times = [(seconds(function), seconds(peer)) for _ in range(pairs)]
        ratios = sorted(theirs / own for own, theirs in times)
        own, other = (statistics.median(x) for x in zip(*times, strict=True))
        yield [
            work.name,
            {"train": "training", "infer": "inference"}[what],
            str(work.batch),
            f"{work.batch / own:.1f}",
            f"{work.batch / other:.1f}",
            form,
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            f"{factor * mine.flops / own / peak:.0%}",
            f"{moved / bandwidth / own:.0%}",
        ]


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--batch", type=int, nargs="+", default=[16])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--forms", choices=sides.FORMS, nargs="+", help="of torch; all on a GPU, else eager"
    )
    arguments = parser.parse_args()
    runtime.configure()
    # Only now: what `configure` says to the C library must come before torch starts its threads.
    from tests.torchvision_cpu import torch

    forms = arguments.forms or (sides.FORMS if torch.cuda.is_available() else ["eager"])
    shown = table.Table(
        *COLUMNS,
        title=f"images/s, {arguments.size} px, {arguments.precision}, medians of "
        f"{arguments.pairs} turns; jax {jax.__version__}, torch {torch.__version__}, "
        f"{jax.devices()[0].device_kind}, {torch.get_num_threads()} threads",
    )
    for name in arguments.names:
        for batch in arguments.batch:
            work = sides.Work(
                name=name, batch=batch, size=arguments.size, precision=arguments.precision
            )
            for row in rows(work, forms, arguments.pairs):
                print(*row, sep="  ", file=sys.stderr, flush=True)
                shown.add_row(*row)
    console.Console(width=130).print(shown)


if __name__ == "__main__":
    main()
