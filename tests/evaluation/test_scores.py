import json
import math

import numpy as np
import pytest

from jaxall.evaluation import metrics, predictions, scores

CLASSES = ("Benign", "Early", "Pre")


def some(labels: list[int]) -> predictions.Predictions:
    generator = np.random.default_rng(0)
    return predictions.Predictions(
        names=tuple(f"{i}.jpg" for i in range(len(labels))),
        labels=np.array(labels, np.int64),
        probabilities=generator.dirichlet(np.ones(3), len(labels)),
        class_names=CLASSES,
    )


def test_every_listed_score_is_in_the_table():
    made = some([0, 1, 2, 0, 1, 2, 0])
    table = scores.from_predictions(made)
    assert table["examples"] == 7
    assert table["confusion"] == made.confusion().tolist()
    assert table["accuracy"] == metrics.accuracy(made.confusion())
    assert table["wilson_95"] == list(metrics.wilson_95(made.confusion()))
    assert table["auroc"] == metrics.auroc_macro(made.labels, made.probabilities)
    assert table["loss"] == metrics.negative_log_likelihood(made.labels, made.probabilities)
    assert set(scores.OVERALL) | set(scores.OVERALL_FROM_PROBABILITIES) <= set(table)
    assert tuple(table["per_class"]) == CLASSES
    wanted = {"precision", "recall", "specificity", "f1", "auroc", "average_precision", "support"}
    assert all(set(row) == wanted for row in table["per_class"].values())
    assert [row["support"] for row in table["per_class"].values()] == [3, 2, 2]
    aurocs = metrics.auroc_per_class(made.labels, made.probabilities).tolist()
    assert [row["auroc"] for row in table["per_class"].values()] == aurocs


def test_without_probabilities_their_scores_are_left_out_and_the_others_are_equal():
    made = some([0, 1, 2, 0, 1, 2, 0])
    full, part = scores.from_predictions(made), scores.from_confusion(made.confusion(), CLASSES)
    probabilistic = {"auroc", "average_precision", "loss", "brier", "calibration_error"}
    assert set(full) - set(part) == probabilistic
    assert {name: full[name] for name in part if name != "per_class"} == {
        name: part[name] for name in part if name != "per_class"
    }
    assert "auroc" not in part["per_class"]["Benign"]


def test_of_two_classes_the_last_is_the_positive_one():
    found = scores.from_confusion([[6, 2], [3, 9]], ("HEM", "ALL"))
    assert found["positive_class"] == "ALL"
    assert (found["sensitivity"], found["specificity"]) == (9 / 12, 6 / 8)
    assert found["sensitivity"] == found["per_class"]["ALL"]["recall"]
    more = scores.from_confusion(np.eye(3), CLASSES)
    assert not {"positive_class", "sensitivity", "specificity"} & set(more)


def test_unlabelled_pictures_do_not_count():
    labelled = some([0, 1, 2, 0])
    both = predictions.Predictions(
        names=(*labelled.names, "new.jpg"),
        labels=np.array([*labelled.labels, -1]),
        probabilities=np.array([*labelled.probabilities, [0.2, 0.3, 0.5]]),
        class_names=CLASSES,
    )
    assert scores.from_predictions(both) == scores.from_predictions(labelled)


@pytest.mark.parametrize("labels", [[], [-1, -1], [0, 0], [1]])
def test_what_cannot_be_computed_is_nan_and_null_in_json(labels: list[int]):
    table = scores.from_predictions(some(labels))
    assert math.isnan(table["auroc"])
    assert math.isnan(table["per_class"]["Pre"]["recall"])
    text = scores.to_json(table)
    assert json.loads(text)["auroc"] is None
    assert json.loads(text)["per_class"]["Pre"]["recall"] is None
    assert "NaN" not in text


def test_json_reads_back_as_it_was():
    table = scores.from_predictions(some([0, 1, 1, 0]))
    np.testing.assert_equal(scores.from_json(scores.to_json(table)), table)


def test_infinity_is_no_json():
    with pytest.raises(ValueError, match="JSON"):
        scores.to_json({"loss": math.inf})


def test_a_matrix_for_other_classes_is_refused():
    with pytest.raises(ValueError, match=r"confusion matrix \(3, 3\) for 3 classes, got \(2, 2\)"):
        scores.from_confusion(np.eye(2), CLASSES)


def test_the_best_epoch_has_the_highest_score_then_the_lowest_loss_then_the_last_word():
    epochs = [
        {"f1": 0.5, "loss": 0.9},
        {"f1": math.nan, "loss": math.nan},
        {"f1": 0.8, "loss": 0.3},
        {"f1": 0.8, "loss": 0.3},
        {"f1": None},
        {"f1": math.inf, "loss": -math.inf},
    ]
    assert scores.best(epochs, "f1", "loss") == 3
    assert scores.best(epochs, "loss") == 3
    epochs[2]["loss"] = 0.2
    assert scores.best(epochs, "f1", "loss") == 2
    epochs[2]["loss"] = math.nan
    assert scores.best(epochs, "f1", "loss") == 3
    assert scores.best(epochs, "kappa") is None
    assert scores.best([], "f1") is None
