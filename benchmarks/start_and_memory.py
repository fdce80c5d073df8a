"""From the start of a process to the end of its first training step, and the peak of memory.

python benchmarks/start_and_memory.py densenet201 efficientnet_b0

Every measurement is a process of its own: jaxall without any compiled program kept, jaxall again
with those of the first, and torchvision (eager, channels last). It is the bare network and step on
a random batch; training a run also opens its folder and its pictures. Memory is the peak of the
whole process, on a GPU that of the device, over the first steps.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

STEPS = 4
ROOT = pathlib.Path(__file__).parents[1]
COLUMNS = (
    "model",
    "who",
    "imports",
    "to the first step",
    "of which making network and step",
    "step",
    "peak GiB",
)


def child(side: str, name: str, batch: int, size: int, precision: str) -> None:
    """Prints what one process measured of itself as JSON."""
    begun = float(os.environ["BEGUN"])
    sys.path.insert(0, str(ROOT))
    from benchmarks.work import Work

    work = Work(name=name, batch=batch, size=size, precision=precision)
    if side == "jaxall":
        import jax

        from benchmarks import jax_side
        from jaxall import runtime

        runtime.configure()
        jax.devices()
    else:
        from benchmarks import torch_side
        from tests.torchvision_cpu import torch

        assert "jax" not in sys.modules
        if torch.cuda.is_available():
            torch.cuda.init()
    imported = time.time()
    if side == "jaxall":
        made = jax_side.ours_training(work)
    else:
        made = torch_side.theirs(work, "eager").train
    ready = time.time()
    made()
    first = time.time()
    for _ in range(STEPS - 1):
        made()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if side == "jaxall":
        on_device = jax.devices()[0].memory_stats() or {}
        peak = on_device.get("peak_bytes_in_use", peak)
    elif torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
    found = {
        "imports": imported - begun,
        "first": first - begun,
        "compile": ready - imported,
        "step": (time.time() - first) / (STEPS - 1),
        "peak": peak,
    }
    print(json.dumps(found))


def measure(arguments: argparse.Namespace, side: str, name: str, cache: str) -> dict[str, float]:
    """The figures of one process."""
    command = [sys.executable, __file__, name, "--child", side]
    for option in ("batch", "size", "precision"):
        command += [f"--{option}", str(getattr(arguments, option))]
    environment = {**os.environ, "JAXALL_CACHE": cache, "BEGUN": repr(time.time())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--child", choices=("jaxall", "torchvision"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(
            arguments.child,
            arguments.names[0],
            arguments.batch,
            arguments.size,
            arguments.precision,
        )
        return
    from rich import console, table

    shown = table.Table(
        *COLUMNS, title=f"seconds; batch {arguments.batch}, {arguments.size} px, {STEPS} steps"
    )
    for name in arguments.names:
        with tempfile.TemporaryDirectory() as cache:
            for who, side in (
                ("jaxall, first start", "jaxall"),
                ("jaxall, later starts", "jaxall"),
                ("torchvision", "torchvision"),
            ):
                found = measure(arguments, side, name, cache)
                times = (f"{found[key]:.1f}" for key in ("imports", "first", "compile", "step"))
                row = (name, who, *times, f"{found['peak'] / 2**30:.2f}")
                print(*row, sep="  ", file=sys.stderr, flush=True)
                shown.add_row(*row)
    console.Console(width=120).print(shown)


if __name__ == "__main__":
    main()
