"""Progress bars with rate and time left, and a plain console where there is no terminal."""

import contextlib
from collections.abc import Callable, Iterator

from rich import console as rich_console
from rich import progress as rich_progress

Report = Callable[[float], None]


def _columns(unit: str) -> tuple[rich_progress.ProgressColumn, ...]:
    return (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(bar_width=24),
        rich_progress.TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit),
        rich_progress.TextColumn("{task.fields[rate]}"),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TextColumn("ETA"),
        rich_progress.TimeRemainingColumn(),
    )


@contextlib.contextmanager
def bar(
    console: rich_console.Console, description: str, total: float, unit: str = "pictures"
) -> Iterator[Report]:
    """A bar for as long as the block runs; yields a function to be told how much is done.

    Nothing is drawn where the console is no terminal.
    """
    with rich_progress.Progress(
        *_columns(unit), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(description, total=total, rate="")

        def report(done: float) -> None:
            progress.update(task, completed=done)
            speed = progress.tasks[task].speed
            progress.update(task, rate=f"{speed:,.1f} {unit}/s" if speed else "")

        yield report


@contextlib.contextmanager
def download_bar(
    console: rich_console.Console, description: str
) -> Iterator[Callable[[int, int | None], None]]:
    """A bar in bytes, drawn from the first byte on; yields a function of (done, all or None)."""
    with rich_progress.Progress(
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(bar_width=24),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
        rich_progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as shown:
        task = shown.add_task(description, total=None, visible=False)

        def report(done: int, total: int | None) -> None:
            shown.update(task, completed=done, total=total, visible=True)

        yield report


@contextlib.contextmanager
def sweep_bar(console: rich_console.Console, total: int) -> Iterator[Callable[[float, str], None]]:
    """A bar in trials, begun ones counted by their part; yields a function of (done, remark)."""
    with rich_progress.Progress(
        rich_progress.BarColumn(bar_width=24),
        rich_progress.TextColumn("{task.completed:.1f}/{task.total:.0f} trials"),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TextColumn("ETA"),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("{task.description}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as shown:
        task = shown.add_task("", total=total)
        yield lambda done, remark: shown.update(task, completed=done, description=remark)
