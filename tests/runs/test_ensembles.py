"""Ensembles of runs that were made by hand."""

import dataclasses

import numpy as np
import pytest

from jaxall.errors import UserError
from jaxall.evaluation import predictions
from jaxall.runs import ensembles, scored, scoring, workdir
from tests import handmade


def member(folder, skill, seed):
    """A model of a run of its own, whose caveat and baselines are its own, too."""
    told = handmade.run(folder, skill=skill, seed=seed)
    run = workdir.load(folder)
    data = {**run.facts["data"], "caveat": f"mind {folder.name}"}
    facts = {**run.facts, "data": data, "baselines": {"test": {folder.name: 0.5}}}
    return ensembles.Member(
        dataclasses.replace(run, facts=facts),
        30,
        "none",
        "judged",
        {"validation": told, "test": told},
    )


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensembles")
    skills = {"poor": 0.5, "good": 3.0, "fair": 1.0}
    return [member(folder / name, skill, seed) for seed, (name, skill) in enumerate(skills.items())]


def test_what_belongs_to_an_ensemble_is_that_of_the_first_run_that_is_kept(members):
    done = ensembles.score(members, "test", by="mean", keep=2)
    poor, good, fair = members
    kept = [good, fair]
    assert done.target == ensembles.folder_of(kept, "test", "mean")
    assert done.target.parent == good.run.workdir / scoring.FOLDER
    assert scored.find(good.run.workdir, "test") == [
        good.run.workdir / scoring.FOLDER / "test-step30" / scoring.SCORES,
        done.target / scoring.SCORES,
    ]
    assert len(scored.find(poor.run.workdir, "test")) == 1
    found = scored.load(done.target / scoring.SCORES, "together").scores
    assert found["members"] == [str(one.run.workdir) for one in kept]
    assert (found["caveat"], found["baselines"]) == ("mind good", {"good": 0.5})
    assert found["checkpoint"] == "step 30, step 30"
    assert found["title"] == ("mean of the probabilities of 2 models, test side (group split)")
    alone = [member.told["test"] for member in kept]
    assert found["member_accuracies"] == [
        pytest.approx(np.mean(one.predicted == one.labels)) for one in alone
    ]
    lines = ensembles.describe(found)
    assert len(lines) == 3 and "weight" not in lines[0]
    assert lines[0].startswith(f"  {good.run.workdir}: densenet201, alone ")
    assert lines[2] == f"  {poor.run.workdir}: left out, worse on validation"


def test_kappa_weighs_every_member(members, tmp_path):
    done = ensembles.score(members, "test", by="kappa", target=tmp_path / "out")
    assert done.target == tmp_path / "out"
    poor, good, fair = done.scores["weights"]
    assert good > fair > poor > 0
    assert f"right, weight {good:.2f}" in ensembles.describe(done.scores)[1]
    assert done.scores["caveat"] == "mind poor"


def test_runs_on_other_pictures_are_not_joined(tmp_path):
    for name, of in (("a", 0), ("b", 0), ("c", 1)):
        handmade.run(tmp_path / name, of=of)
    runs = [workdir.load(tmp_path / name) for name in "abc"]
    ensembles.require_same_pictures(runs[:2], "test")
    with pytest.raises(UserError, match=r"c has other pictures on its test side than .*a: only"):
        ensembles.require_same_pictures(runs, "test")


def test_every_ensemble_has_a_folder_of_its_own(members):
    poor, good, fair = members
    others = [
        ensembles.folder_of(members, "test", "mean"),
        ensembles.folder_of(members, "validation", "mean"),
        ensembles.folder_of(members, "test", "vote"),
        ensembles.folder_of([poor, good], "test", "mean"),
        ensembles.folder_of([poor, fair], "test", "mean"),
        ensembles.folder_of([poor, fair._replace(step=20)], "test", "mean"),
        ensembles.folder_of([one._replace(views="dihedral8") for one in members], "test", "mean"),
        ensembles.folder_of([one._replace(views="rotations:4") for one in members], "test", "mean"),
    ]
    assert len(set(others)) == len(others)
    assert {path.parent for path in others} == {poor.run.workdir / scoring.FOLDER}
    assert others[-1].name.startswith("test-mean-rotations4-")
    assert ensembles.folder_of([poor, fair, good], "test", "mean") == others[0]


def test_members_of_other_pictures_are_refused(members):
    table = members[1].told["test"]
    fewer = predictions.Predictions(
        names=table.names[1:],
        labels=table.labels[1:],
        probabilities=table.probabilities[1:],
        class_names=table.class_names,
    )
    with pytest.raises(UserError, match="members predict the same pictures"):
        ensembles.score([members[0], members[1]._replace(told={"test": fewer})], "test", by="mean")
