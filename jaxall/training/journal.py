"""What a run writes down as it goes: JSON lines and TensorBoard events."""

import json
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import tensorboardX

from jaxall import files
from jaxall.errors import UserError

FILE = "journal.jsonl"


class Journal:
    """Appends records {"kind", "step", ...}; each line is handed to the system at once.

    Opening it for a run that goes on from `step` drops what was written after that step: those
    steps will be run, and written, again. One from step 0 begins anew.
    """

    def __init__(self, workdir: pathlib.Path, step: int):
        self._path = workdir / FILE
        kept = [record for record in read(workdir) if record["step"] <= step] if step else []
        files.write(self._path, "".join(json.dumps(record) + "\n" for record in kept))
        self._file = self._path.open("a")
        self._events = tensorboardX.SummaryWriter(
            str(workdir / "tensorboard"), purge_step=step + 1, write_to_disk=True
        )

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Adds a record; its numbers, nested ones too, become TensorBoard scalars "kind/name"."""
        self._file.write(json.dumps(_finite({"kind": kind, "step": step, **values})) + "\n")
        self._file.flush()
        for name, value in _numbers(kind, values):
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes both."""
        self._file.close()
        self._events.close()


def read(workdir: pathlib.Path, kind: str | None = None) -> list[dict[str, Any]]:
    """All records, or those of one kind; a last line cut off by a crash is passed over.

    Raises:
        UserError: another line is damaged.
    """
    path = workdir / FILE
    records = []
    lines = files.read_text(path).splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if kind in (None, record["kind"]) and isinstance(record["step"], int):
                records.append(record)
        except (KeyError, TypeError, ValueError) as error:
            if number < len(lines):
                raise UserError(
                    f"line {number} of {path} is damaged ({error}): wanted a record in JSON"
                ) from error
    return records


def course(
    workdir: pathlib.Path,
) -> tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]:
    """The records of epochs, and those of steps; raises as `read`."""
    records = read(workdir)
    epochs, steps = (
        tuple(record for record in records if record["kind"] == kind) for kind in ("epoch", "step")
    )
    return epochs, steps


def _finite(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(f"{name}/{key}", item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value
