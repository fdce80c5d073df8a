"""Ports torchvision's weights to Flax and checks them against torchvision.

python -m jaxall.port densenet201 --out densenet201.safetensors --verify
"""

from __future__ import annotations

import hashlib
import json
import pathlib

from absl import flags
from etils import epy
from rich import console as rich_console
from rich import table

from jaxall import cli, files
from jaxall.errors import UserError

with epy.lazy_imports():  # each at its first use: --help and a wrong flag need none
    import numpy as np

    from jaxall import models, runtime
    from jaxall.data import preprocessing as preprocessing_lib
    from jaxall.data import smears
    from jaxall.reporting import progress
    from jaxall.weights import initial, parity, port, state_dict

_INIT = flags.DEFINE_enum(
    "init", "imagenet", ["imagenet", "imagenet_v2"], "which of torchvision's files"
)
_FILE = flags.DEFINE_string("file", "", "a .pth or .safetensors; the official file if empty")
# predict has this flag too, and both may be imported into one process.
_OUT = flags.DEFINE_string(
    "out", "", "the file to write; NAME.safetensors if empty", allow_override=True
)
_VERIFY = flags.DEFINE_bool("verify", False, "compare every block with torchvision (needs torch)")
TOLERANCE = 1e-5  # largest difference of any block, as a share of its largest value


def verify(
    spec: models.ModelSpec,
    file: pathlib.Path,
    variables: port.Variables,
    preset: models.Preset | None = None,
) -> parity.Agreement:
    """Runs both networks on two drawn smears of the preset's size, or the architecture's own.

    Raises:
        UserError: torch or torchvision is missing.
    """
    preset = preset or spec.preset
    preprocessing = preprocessing_lib.Preprocessing.for_model(
        image_size=preset.image_size,
        interpolation=preset.interpolation,
        mean=spec.mean,
        std=spec.std,
        normalisation="imagenet",
    )
    drawn = [smears.draw(name, 1, 1, size=preset.image_size) for name in smears.CLASS_NAMES[:2]]
    images = preprocessing.normalise(np.stack(drawn))
    return parity.compare(spec, variables, parity.reference(spec, state_dict.read(file)), images)


def agreement_table(agreement: parity.Agreement) -> table.Table:
    """Stages of the network, its worst block, and its logits."""
    shown = table.Table(title="largest difference / largest value", box=None, title_justify="left")
    shown.add_column("output")
    shown.add_column("difference", justify="right")
    for path, share in agreement.blocks.items():
        if path.count("/") == 1:
            shown.add_row(path, f"{share:.1e}")
    worst, share = agreement.worst
    shown.add_row(f"worst of {len(agreement.blocks)}: {worst}", f"{share:.1e}")
    shown.add_row("logits", f"{agreement.logits:.1e}", style="bold")
    return shown


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    if len(arguments) != 1:
        there_are = ", ".join(name for name, spec in models.SPECS.items() if spec.weights)
        raise UserError(f"port takes one architecture; got {arguments}: {there_are}")
    spec = models.find(arguments[0])
    official = models.official(spec, _INIT.value)
    assert official is not None  # the flag has no other values
    runtime.configure()
    console = cli.console()
    with progress.download_bar(console, official.file) as report:
        file = (
            pathlib.Path(_FILE.value)
            if _FILE.value
            else initial.fetch(official, runtime.cache_dir(), report)
        )
    out = pathlib.Path(_OUT.value or f"{spec.name}.safetensors")
    if out.exists() and out.samefile(file):
        raise UserError(f"--out: {out} is the file to port itself; wanted another name")
    variables = port.load(spec, file)
    facts = {"source": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    agreement = verify(spec, file, variables, official) if _VERIFY.value else None
    if agreement is not None:
        _report(agreement, spec, facts, out, console)
    port.save(out, spec, variables, facts)
    console.print(f"{spec.name}: {file} -> {out}", soft_wrap=True)
    return 0


def _report(
    agreement: parity.Agreement,
    spec: models.ModelSpec,
    facts: dict[str, str],
    out: pathlib.Path,
    console: rich_console.Console,
) -> None:
    """Writes and prints the agreement.

    Raises:
        UserError: it is too small for the port to be right.
    """
    report_file = out.with_suffix(".parity.json")
    files.write(
        report_file,
        json.dumps(
            {"model": spec.name, **facts, "logits": agreement.logits, "blocks": agreement.blocks},
            indent=2,
        )
        + "\n",
    )
    console.print(agreement_table(agreement))
    console.print(f"report: {report_file}", soft_wrap=True)
    path, worst = agreement.worst
    if not (agreement.logits <= TOLERANCE and worst <= TOLERANCE):  # NaN is neither
        raise UserError(
            f"the port disagrees with torchvision and is not kept: {path} by {worst:.1e}, "
            f"logits by {agreement.logits:.1e}; at most {TOLERANCE:.0e} is right"
        )


if __name__ == "__main__":
    cli.run(main)
