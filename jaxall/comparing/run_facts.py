"""What a run tells of itself besides its scores, as records for tables."""

import shlex
import statistics
from collections.abc import Sequence
from typing import Any

from jaxall import config as config_lib
from jaxall.comparing.comparison import CrossValidation, Group, Run, runs_of
from jaxall.data import audit, splits

LISTED = 6  # warnings of the audit


def speed(run: Run) -> dict[str, Any]:
    """From the journal; what it doesn't hold is None."""
    epochs = run.epochs
    steady = [epoch for place, epoch in enumerate(epochs) if not epoch.get("compiling", not place)]
    steady = steady or epochs
    most = max((epoch.get("pictures", 0) for epoch in steady), default=0)
    whole = [epoch for epoch in steady if epoch.get("pictures", 0) == most]
    versions = run.saved.facts.get("versions", {})
    return {
        "run": run.label,
        "epochs": epochs[-1].get("epoch") if epochs else None,
        "steps": epochs[-1]["step"] if epochs else None,
        "images per second": _median(steady, "images_per_second"),
        "seconds per epoch": _median(whole, "seconds"),
        "peak memory (MiB)": _most(epochs, "peak_host_mib"),
        "of a device (MiB)": _most(epochs, "peak_device_mib"),
        "waiting (%)": _times(100, _median(steady, "waiting_share")),
        "batch size": run.saved.config.train.batch_size,
        "precision": run.saved.config.model.precision,
        "devices": ", ".join(sorted(set(versions.get("devices", [])))),
    }


def sampling(run: Run) -> dict[str, Any] | None:
    """How often training pictures are drawn; None of a run that doesn't say."""
    found = run.saved.facts.get("sampling")
    if not found:
        return None
    classes = {f"draws of {name}": drawn for name, drawn in found["classes"].items()}
    return {"run": run.label, "sampling": found["sampling"], "draws": found["epoch"], **classes}


def environment(run: Run) -> dict[str, Any]:
    """What the run was started with."""
    found = run.saved.facts.get("versions", {})
    plain = {key: value for key, value in found.items() if key != "devices"}
    devices = found.get("devices", [])
    kinds = ", ".join(f"{devices.count(kind)} x {kind}" for kind in sorted(set(devices)))
    return {"run": run.label, **plain, "devices": kinds}


def commands(run: Run) -> list[str]:
    """The commands that began it and scored it, as they can be typed."""
    scored = [one.scores.get("command") for one in run.evaluations]
    commands = [run.saved.facts.get("command"), *scored]
    return list(dict.fromkeys(shlex.join(map(str, command)) for command in commands if command))


def settings(run: Run) -> list[dict[str, Any]]:
    """Every setting that decides the result."""
    found = config_lib.deciding(run.saved.config)
    return [{"run": run.label, "setting": name, "value": value} for name, value in found.items()]


def counts(group: Group, side: str) -> list[dict[str, Any]]:
    """Pictures of each class on each side; of a cross-validation on the side in each fold."""
    member = group.members[0]
    if isinstance(member, CrossValidation):
        columns = [(run, side, f"fold {fold}, {side}") for fold, run in enumerate(member.folds)]
    else:
        columns = [(member, one, one) for one in splits.SIDES]
    first = runs_of(member)[0].saved
    table = {heading: run.saved.facts["data"]["counts"] for run, _, heading in columns}
    return [
        {"class": name, **{heading: table[heading][name][one] for _, one, heading in columns}}
        for name in first.class_names
    ]


def remarks(run: Run) -> list[str]:
    """The audit's first warnings, and one of a split that lets subjects stand on two sides."""
    found = list((run.audit or {}).get("warnings", []))
    if len(found) > LISTED:
        found[LISTED:] = [f"and {len(found) - LISTED} more, in the run's {audit.FILE}"]
    if run.saved.config.split.share_subjects:
        found.insert(0, "A subject may stand on two sides of this split, which inflates scores.")
    elif run.saved.config.split.kind == "random":
        found.insert(0, "This split deals single pictures, which leaks where they are related.")
    return found


def of_pictures(run: Run) -> list[tuple[str, str]]:
    """Facts of the data set and its split, as (term, text)."""
    data = run.saved.facts["data"]
    contradictions = len(data.get("contradictions", []))
    found = [
        ("split", str(data.get("groups", ""))),
        ("left out as unreadable", f"{data.get('quarantined', 0):,}"),
        ("with a copy in another class", f"{contradictions:,}"),
        ("note", str(data.get("note", ""))),
        ("source", str(data.get("citation", ""))),
    ]
    if run.audit:
        copies = run.audit["duplicates"]
        leaks = run.audit.get("across", {}).get("split", {})
        text = (
            f"{len(copies['groups']):,} groups of {copies['pictures']:,} pictures, "
            f"{copies['near_groups']:,} with copies that are not exact"
        )
        across = len(leaks.get("duplicates", [])), len(leaks.get("subjects", []))
        leaked = f"{across[0]:,} groups of copies, {across[1]:,} subjects"
        found[3:3] = [("copies among the pictures", text), ("on more than one side", leaked)]
    return [(term, text) for term, text in found if text]


def _median(epochs: Sequence[dict[str, Any]], key: str) -> float | None:
    values = [epoch[key] for epoch in epochs if epoch.get(key) is not None]
    return round(statistics.median(values), 3) if values else None


def _most(epochs: Sequence[dict[str, Any]], key: str) -> int | None:
    values = [epoch[key] for epoch in epochs if epoch.get(key) is not None]
    return round(max(values)) if values else None


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else round(factor * value, 1)
