"""Training step and inference against torchvision, in one run, turn by turn.

python benchmarks/step_speed.py densenet201 efficientnet_b0 --batch 16 --pairs 5
python benchmarks/step_speed.py densenet201 --precision bfloat16 --batch 32 64 128 256  # on a GPU

Both sides run alternately, and the ratio is taken pair by pair. MFU is the network's arithmetic
beside what a large matrix product reaches here in the same precision; "traffic" is the time that
the bytes XLA counts would take at the speed of a copy, as a share of the measured time.
"""

import argparse
import pathlib
import sys
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from rich import console, table

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks import jax_side, torch_side
from benchmarks.work import Work, best_of, take_turns
from jaxall import runtime

COLUMNS = ("model", "what", "batch", "jaxall", "torchvision", "form", "ratio", "MFU", "traffic")


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


def rows(work: Work, forms: Sequence[str], pairs: int) -> Iterator[list[str]]:
    """Of training and of inference, against the quickest of the given forms of torch."""
    mine = jax_side.ours(work)
    peers = {form: torch_side.theirs(work, form) for form in forms}
    peak, bandwidth = device_speed(work.precision)
    for what, factor, moved in (
        ("train", 3, mine.train_bytes),
        ("infer", 1, mine.infer_bytes),
    ):
        function = getattr(mine, what)
        trials = {form: best_of(getattr(peer, what), 2) for form, peer in peers.items()}
        form = min(trials, key=lambda form: trials[form])
        best_of(function, 2)
        turns = take_turns(function, getattr(peers[form], what), pairs)
        own, other = turns.medians
        yield [
            work.name,
            {"train": "training", "infer": "inference"}[what],
            str(work.batch),
            f"{work.batch / own:.1f}",
            f"{work.batch / other:.1f}",
            form,
            str(turns),
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
        "--forms",
        choices=torch_side.FORMS,
        nargs="+",
        help="of torch, of which the quickest is compared with; all on a GPU, else eager alone",
    )
    arguments = parser.parse_args()
    runtime.configure()
    # Only now: what `configure` says to the C library must come before torch starts its threads.
    from tests.torchvision_cpu import torch

    forms = arguments.forms or (torch_side.FORMS if torch.cuda.is_available() else ["eager"])
    shown = table.Table(
        *COLUMNS,
        title=f"images/s, {arguments.size} px, {arguments.precision}, medians of "
        f"{arguments.pairs} turns; jax {jax.__version__}, torch {torch.__version__}, "
        f"{jax.devices()[0].device_kind}, {torch.get_num_threads()} threads",
    )
    for name in arguments.names:
        for batch in arguments.batch:
            work = Work(name=name, batch=batch, size=arguments.size, precision=arguments.precision)
            for row in rows(work, forms, arguments.pairs):
                print(*row, sep="  ", file=sys.stderr, flush=True)
                shown.add_row(*row)
    console.Console(width=130).print(shown)


if __name__ == "__main__":
    main()
