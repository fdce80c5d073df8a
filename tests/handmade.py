"""Folders of runs as training and scoring leave them, made without either."""

import hashlib
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxall import config
from jaxall.data import dataset, split_file, splits
from jaxall.evaluation import intervals, predictions, subjects
from jaxall.evaluation import scores as scores_lib
from jaxall.runs import assembly, scoring, workdir

CLASSES = ("benign", "ALL")


def run(
    folder: pathlib.Path,
    *,
    class_names: Sequence[str] = CLASSES,
    skill: float = 2.0,
    per_class: int = 6,
    pictures: int = 5,
    seed: int = 0,
    of: int = 0,
    **settings: object,
) -> predictions.Predictions:
    """A run of three epochs, scored on its test side; returns its predictions.

    Args:
        folder: its workdir.
        class_names: of the data set.
        skill: added to the logit of the true class.
        per_class: subjects of each class, a third of which are on the test side; 0: none is known.
        pictures: of each subject.
        seed: of the logits.
        of: names the pictures: of another number, all are others.
        settings: fields of the config.
    """
    made = config.Config(name="handmade", **settings)
    rows, sides = _table(len(class_names), per_class or 6, pictures, is_known=per_class > 0)
    data_set = dataset.DataSet(
        name=made.data.name, root=folder, class_names=tuple(class_names), rows=rows
    )
    workdir.save_config(folder, made)
    split = splits.Split(sides=sides, groups=("",) * len(rows), reasons=("",) * len(rows))
    split_file.save(split, data_set, folder / workdir.SPLIT)
    digests = [hashlib.sha256(f"{of} {row.path}".encode()).hexdigest() for row in rows]
    lines = [f"{digest}  {row.path}\n" for digest, row in zip(digests, rows, strict=True)]
    (folder / workdir.PICTURES).write_text("".join(lines))
    baselines = {"colour only (nearest neighbour)": 0.55, "commonest class": 0.5}
    facts = {
        "data": {
            "name": made.data.name,
            "caveat": "made by hand",
            "citation": "nobody",
            "note": "",
            "counts": splits.counts(split, data_set),
            "split": made.split.kind,
            "groups": splits.summary(split),
            "quarantined": 3,
            "contradictions": [],
        },
        "sampling": {"sampling": "class", "epoch": 200, "classes": {class_names[-1]: 100.0}},
        "baselines": {"validation": baselines, "test": baselines},
        "versions": {"jax": "0.0.1", "devices": ["cpu", "cpu"]},
        "command": ["python", "-m", "jaxall.train", "--config", "a file.py"],
    }
    workdir.save_facts(folder, data_set.class_names, assembly.preprocessing_of(made), facts)
    _journal(folder)
    told = _predictions(data_set, split, "test", skill, seed)
    score(folder, told, "test-step30", baselines)
    return told


def score(
    folder: pathlib.Path,
    told: predictions.Predictions,
    name: str,
    baselines: dict[str, float],
    **record: object,
) -> None:
    """Lays scores down as `scoring.write` does, without its plots."""
    target = folder / scoring.FOLDER / name
    found = {
        "run": "handmade",
        "side": name.partition("-")[0],
        "checkpoint": 30,
        "tta": "none",
        "command": ["python", "-m", "jaxall.evaluate", "runs/a"],
        "baselines": baselines,
        **record,
        **scores_lib.from_predictions(told),
        "intervals_95": intervals.of(told, replicates=200),
    }
    if patients := subjects.of(told):
        found["subjects"] = subjects.summary(patients, told.class_names)
    target.mkdir(parents=True)
    (target / scoring.SCORES).write_text(scores_lib.to_json(found))
    told.save_csv(target / scoring.PREDICTIONS)


def _table(
    classes: int, per_class: int, pictures: int, *, is_known: bool
) -> tuple[tuple[dataset.Row, ...], tuple[str, ...]]:
    rows, sides = [], []
    for label in range(classes):
        for number in range(per_class):
            subject = f"S{label}{number:02d}"
            for picture in range(pictures):
                path = f"{label}/{subject}-{picture}.png"
                rows.append(
                    dataset.Row(path=path, label=label, subject=subject if is_known else "")
                )
                sides.append(splits.SIDES[number % 3])
    return tuple(rows), tuple(sides)


def _predictions(
    data_set: dataset.DataSet, split: splits.Split, side: str, skill: float, seed: int
) -> predictions.Predictions:
    own = split.indices(side)
    labels, k = data_set.labels[own], len(data_set.class_names)
    powers = np.exp(
        np.random.default_rng(seed).normal(size=(len(own), k)) + skill * np.eye(k)[labels]
    )
    return predictions.Predictions(
        names=tuple(data_set.rows[i].path for i in own),
        labels=labels,
        probabilities=powers / powers.sum(1, keepdims=True),
        class_names=data_set.class_names,
        subjects=tuple(data_set.rows[i].subject for i in own),
    )


def _journal(folder: pathlib.Path) -> None:
    records = [
        {
            "kind": "epoch",
            "step": 10 * epoch,
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "train_accuracy": 1 - 0.5**epoch,
            "validation_loss": 1.2 / epoch,
            "validation_accuracy": 1 - 0.6**epoch,
            "validation_f1_macro": 1 - 0.6**epoch,
            "seconds": 30.0 if epoch == 1 else 10.0 + epoch,
            "images_per_second": 20.0 if epoch == 1 else 50.0 + epoch,
            "waiting_share": 0.25,
            "pictures": 600,
            "compiling": epoch == 1,
            "peak_host_mib": 1000.0 * epoch,
            "learning_rate": 1e-3,
        }
        for epoch in (1, 2, 3)
    ]
    (folder / "journal.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
