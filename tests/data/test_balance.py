import dataclasses
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxall.data import balance, pipeline
from jaxall.errors import UserError

BALANCED = balance.SAMPLING[1:]
IN_BATCHES = ("class", "class_and_subject")
OF_SUBJECTS = ("subject", "class_and_subject")
QUIET = pipeline.LoaderSettings(threads=0)


def make(sizes, sampling):
    """Draws of classes whose subjects have these numbers of pictures, in a mixed-up table."""
    rows = [
        (label, f"{label}-{number}")
        for label, subjects in enumerate(sizes)
        for number, size in enumerate(subjects)
        for _ in range(size)
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    labels, subjects = zip(*(rows[index] for index in order), strict=True)
    return balance.Draws(
        labels=np.array(labels),
        subjects=subjects,
        class_names=tuple(f"class {label}" for label in range(len(sizes))),
        settings=balance.BalanceSettings(sampling=sampling),
    )


def drawn(draws, count, batch_size=4, seed=0, start=0):
    order = draws.order(batch_size=batch_size, seed=seed)
    return np.array([order[index] for index in range(start, start + count)])


def spread_of(draws, rows, label):
    """The least and the most that a subject of the class was drawn."""
    own = {s for s, x in zip(draws.subjects, draws.labels, strict=True) if x == label}
    seen = [draws.subjects[row] for row in rows if draws.labels[row] == label]
    counts = [seen.count(subject) for subject in own]
    return min(counts), max(counts)


tables = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=4), min_size=2, max_size=4)
UNEVEN = ((9, 1, 5), (2, 3), (1,))  # 15, 5 and 1 pictures


@settings(deadline=None, max_examples=50)
@given(sizes=tables, sampling=st.sampled_from(IN_BATCHES), batch_size=st.integers(1, 9))
def test_every_batch_holds_each_class_as_equally_often_as_it_can(sizes, sampling, batch_size):
    draws = make(sizes, sampling)
    rows = drawn(draws, 12 * batch_size, batch_size, seed=3)
    counts = np.array(
        [
            np.bincount(draws.labels[batch], minlength=len(sizes))
            for batch in rows.reshape(12, batch_size)
        ]
    )
    assert np.ptp(counts, axis=1).max() <= 1
    assert np.ptp(counts.cumsum(0), axis=1).max() <= 1, "and so do all batches so far together"


@settings(deadline=None, max_examples=50)
@given(sizes=tables, sampling=st.sampled_from(OF_SUBJECTS), epochs=st.integers(1, 4))
def test_no_subject_is_drawn_above_its_share(sizes, sampling, epochs):
    draws = make(sizes, sampling)
    rows = drawn(draws, epochs * draws.epoch, batch_size=1, seed=5)
    for label in range(len(sizes)):
        least, most = spread_of(draws, rows, label)
        assert most - least <= 1
    if sampling == "subject":
        np.testing.assert_array_equal(np.bincount(draws.labels[rows]), epochs * draws.class_counts)


@settings(deadline=None, max_examples=50)
@given(sizes=tables, epoch=st.integers(0, 3))
def test_oversampling_shows_every_picture_and_all_classes_equally_often(sizes, epoch):
    draws = make(sizes, "oversample")
    largest = draws.class_counts.max()
    assert draws.epoch == len(sizes) * largest
    rows = drawn(draws, draws.epoch, start=epoch * draws.epoch)
    assert set(np.bincount(draws.labels[rows])) == {largest}
    times = np.bincount(rows, minlength=len(draws.labels))
    copies = largest / draws.class_counts[draws.labels]
    assert (times >= np.floor(copies)).all()
    assert (times <= np.ceil(copies)).all()


@pytest.mark.parametrize("sampling", BALANCED)
def test_every_picture_is_drawn_in_the_end_and_every_one_of_a_small_class_in_an_epoch(sampling):
    draws = make(UNEVEN, sampling)
    assert set(drawn(draws, 40 * draws.epoch)) == set(range(len(draws.labels)))
    if sampling in ("oversample", "class"):
        small = np.flatnonzero(draws.labels != 0)
        assert set(drawn(draws, draws.epoch)) >= set(small)


@pytest.mark.parametrize("sampling", ("class", *OF_SUBJECTS))
def test_pictures_that_count_alike_differ_by_one_draw_at_most(sampling):
    draws = make(UNEVEN, sampling)
    times = np.bincount(drawn(draws, 3 * draws.epoch, batch_size=1), minlength=21)
    alike = np.array(draws.subjects) if sampling in OF_SUBJECTS else draws.labels
    for name in set(alike):
        assert np.ptp(times[alike == name]) <= 1


@pytest.mark.parametrize("sampling", balance.SAMPLING)
def test_the_rates_are_what_many_epochs_show(sampling):
    draws = make(UNEVEN, sampling)
    rates = draws.rates()
    assert rates.sum() == pytest.approx(draws.epoch)
    if sampling == "none":
        assert (rates == 1).all()
        return
    times = np.bincount(drawn(draws, 60 * draws.epoch, batch_size=3), minlength=21) / 60
    # The same pictures are repeated in every epoch.
    np.testing.assert_allclose(times, rates, atol=0.5 if sampling == "oversample" else 0.05)


def test_counts_are_by_class_and_by_subject():
    assert make(UNEVEN, "none").effective_counts() == {
        "sampling": "none",
        "epoch": 21,
        "classes": {"class 0": 15.0, "class 1": 5.0, "class 2": 1.0},
        "subjects": {"number": 6, "least": 1.0, "median": 2.5, "most": 9.0},
    }
    both = make(UNEVEN, "class_and_subject").effective_counts()
    assert both["classes"] == {"class 0": 7.0, "class 1": 7.0, "class 2": 7.0}
    assert both["subjects"] == {"number": 6, "least": 2.3, "median": 2.9, "most": 7.0}
    assert make(UNEVEN, "subject").summary() == (
        "sampling subject: 21 draws an epoch, class 0 15, class 1 5, class 2 1; "
        "6 subjects with 1 to 5, median 4"
    )


def test_a_subject_of_two_classes_is_counted_as_one():
    draws = dataclasses.replace(make(((2,), (2,)), "none"), subjects=("a",) * 4)
    assert draws.effective_counts()["subjects"]["number"] == 1


def test_unknown_subjects_are_not_counted():
    draws = dataclasses.replace(make(((2,), (2,)), "class"), subjects=("",) * 4)
    assert draws.effective_counts()["subjects"] is None
    assert draws.summary() == "sampling class: 4 draws an epoch, class 0 2, class 1 2"


@pytest.mark.parametrize("sampling", OF_SUBJECTS)
def test_sampling_by_subject_without_subjects_is_refused(sampling):
    known = make(((2,), (2,)), "none")
    with pytest.raises(UserError) as caught:
        dataclasses.replace(
            known,
            subjects=("a", "", "", "b"),
            settings=balance.BalanceSettings(sampling=sampling),
        )
    assert str(caught.value) == (
        f"balance.sampling={sampling} needs the subject of every picture, 2 of 4 training pictures "
        "have none: use another of none, oversample, class"
    )


def test_another_sampling_is_refused():
    with pytest.raises(UserError, match=r"^balance.sampling is one of none, .*; got 'classes'$"):
        balance.BalanceSettings(sampling="classes").validate()


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"labels": np.zeros(3, int)}, "3 labels have 4"), ({"labels": np.zeros(4, int)}, r"\[4 0\]")],
)
def test_labels_that_do_not_fit_are_an_error(changes, told):
    with pytest.raises(ValueError, match=told):
        dataclasses.replace(make(((2,), (2,)), "none"), **changes)


@pytest.mark.parametrize("sampling", BALANCED)
def test_neighbouring_seeds_and_epochs_share_no_order(sampling):
    draws = make(((30, 20), (10, 20)), sampling)
    blocks = [
        tuple(drawn(draws, 60, seed=seed, start=epoch * draws.epoch))
        for seed, epoch in itertools.product(range(3), range(3))
    ]
    assert len(set(blocks)) == 9


def test_classes_of_a_batch_stand_in_a_random_order():
    # In turns, one of two hosts would see one of two classes only.
    draws = make(((40,), (10,)), "class")
    places = draws.labels[drawn(draws, 2000)].reshape(-1, 4)
    assert (np.abs(places.mean(0) - 0.5) < 0.06).all()


@pytest.mark.parametrize("sampling", BALANCED)
def test_a_far_draw_is_found_at_once_and_as_after_pickling(sampling):
    draws = make(UNEVEN, sampling)
    order = draws.order(batch_size=4, seed=1)
    again = pickle.loads(pickle.dumps(order))
    assert [order[10**9 + index] for index in range(50)] == [
        again[10**9 + index] for index in reversed(range(50))
    ][::-1]


class Numbers:
    """A source whose pictures say which they are."""

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = np.full((1, 1, 3), index, np.uint8)
        return {"image": image, "label": np.int32(self.labels[index]), "index": np.int32(index)}


def batches(draws, count, settings=QUIET, **changes):
    made = pipeline.train_batches(
        Numbers(draws.labels),
        transforms=(),
        batch_size=4,
        seed=0,
        order=draws.order(batch_size=4, seed=0),
        settings=settings,
        **changes,
    )
    with made:
        return [next(made)["image"][:, 0, 0, 0].tolist() for _ in range(count)]


@pytest.mark.parametrize("sampling", BALANCED)
@pytest.mark.parametrize("step", [1, 5, 13])
def test_the_pipeline_follows_the_order_from_any_step(sampling, step):
    draws = make(UNEVEN, sampling)
    wanted = drawn(draws, 80).reshape(-1, 4).tolist()
    assert batches(draws, 20) == wanted
    assert batches(draws, 20 - step, start_step=step) == wanted[step:]


@pytest.mark.parametrize("sampling", BALANCED)
def test_threads_and_processes_do_not_change_a_batch(sampling):
    draws = make(UNEVEN, sampling)
    wanted = batches(draws, 12)
    assert batches(draws, 12, pipeline.LoaderSettings(threads=4)) == wanted
    shares = [batches(draws, 12, process_index=p, process_count=2) for p in range(2)]
    whole = [
        [x for pair in zip(*both, strict=True) for x in pair] for both in zip(*shares, strict=True)
    ]
    assert whole == wanted


def test_a_worker_does_not_change_a_batch():
    draws = make(UNEVEN, "class_and_subject")
    settings = pipeline.LoaderSettings(threads=1, workers=1)
    assert batches(draws, 4, settings, start_step=2) == batches(draws, 6)[2:]
