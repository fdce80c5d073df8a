"""Scores a run on one side of its split.

python -m jaxall.evaluate runs/a --split test
"""

import pathlib

from absl import flags
from etils import epy

from jaxall import cli, files
from jaxall.data import splits
from jaxall.errors import UserError

with epy.lazy_imports():  # each at its first use: --help and a wrong flag need none
    from jaxall import assembly, runtime, trained, workdir
    from jaxall.evaluation import scores
    from jaxall.reporting import plots, progress, tables

_SPLIT = flags.DEFINE_enum("split", "test", splits.SIDES, "the side to score")
# predict has this flag too, and both may be imported into one process.
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "best", "best, latest, or a step", allow_override=True
)
_DATA = flags.DEFINE_string("data", "", "where the pictures are, if they have moved")


def evaluate(folder: pathlib.Path, side: str, checkpoint: str, root: str) -> None:
    """Predicts every picture of a side once; writes scores, predictions and plots, prints a table.

    Raises:
        UserError: no run, no such checkpoint, or other pictures than those of the split.
    """
    console = cli.console()
    run = workdir.load(folder)
    material = assembly.resume(run, root or run.config.data.root, (side,))
    source = material.source(side)
    model = trained.load(run, checkpoint)
    with progress.bar(console, f"{side} side", len(source)) as report:
        predictions = model.predict(source, material.names(side), report)
    found = scores.from_predictions(predictions)
    try:
        baselines, caveat = run.facts["baselines"].get(side, {}), run.facts["data"]["caveat"]
    except (AttributeError, LookupError, TypeError) as error:
        raise UserError(f"{run.workdir / workdir.FACTS} is damaged: no {error}") from error

    target = folder / "evaluation" / f"{side}-step{model.step}"
    target.mkdir(parents=True, exist_ok=True)
    record = {
        "run": run.config.name,
        "model": run.config.model.name,
        "side": side,
        "split": run.config.split.kind,
        "checkpoint": model.step,
        "caveat": caveat,
        "baselines": baselines,
        **found,
    }
    files.write(target / "scores.json", scores.to_json(record) + "\n")
    predictions.save_csv(target / "predictions.csv")
    title = f"{run.config.name}, {side} side ({run.config.split.kind} split), step {model.step}"
    plots.confusion_matrix(found["confusion"], run.class_names, target / "confusion.png", title)
    plots.roc(predictions, target / "roc.png", title)
    console.print(tables.score_table(found, title, baselines))
    console.print("mind:", caveat, style="yellow", soft_wrap=True)
    for name in ("scores.json", "predictions.csv", "confusion.png", "roc.png"):
        console.print(f"  {target / name}", soft_wrap=True)


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    if len(arguments) != 1:
        raise UserError(f"evaluate takes one run's folder; got {arguments or 'none'}")
    runtime.configure()
    evaluate(pathlib.Path(arguments[0]), _SPLIT.value, _CHECKPOINT.value, _DATA.value)
    return 0


if __name__ == "__main__":
    cli.run(main)
