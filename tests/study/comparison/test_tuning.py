"""What a search says: the best trial, the window of learning rates, the edges."""

import pytest

from attention_jax.study.comparison.tuning import (
    LEARNING_RATE,
    Tried,
    Tuned,
    Window,
    best,
    edges,
    margin,
    search_seed,
    window,
)


def tried(scores: dict[float, float | None], *, metric: str = "validation_loss", **others: object) -> list[Tried]:
    """Returns a trial at each learning rate; without a score it has failed."""
    return [
        Tried({LEARNING_RATE: rate, **others}, 7, "failed", "nan")
        if score is None
        else Tried({LEARNING_RATE: rate, **others}, 7, "done", None, metric, score, 10)
        for rate, score in scores.items()
    ]


def test_the_best_is_by_the_direction_of_the_measure_and_the_first_of_equals():
    trials = tried({1e-3: 2.0, 1e-2: 1.0, 1e-1: 1.0, 1.0: None})
    assert best(trials, rising=False) is trials[1]
    assert best(trials, rising=True) is trials[0]
    assert best(tried({1.0: None}), rising=True) is None


def test_what_works_is_within_a_share_of_the_range_of_an_accuracy_and_of_the_best_loss():
    assert margin("validation_accuracy", 0.9) == margin("validation_accuracy", 0.2) == 0.05
    assert margin("validation_loss", 2.0) == pytest.approx(0.1)
    assert margin("validation_perplexity", 40.0) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("scores", "metric", "low", "high", "is_open"),
    [
        ({1e-4: 3.0, 1e-3: 2.05, 1e-2: 2.0, 1e-1: 2.09, 1.0: 9.0}, "validation_loss", 1e-3, 1e-1, (False, False)),
        ({1e-3: 2.0, 1e-2: 2.05, 1e-1: 3.0}, "validation_loss", 1e-3, 1e-2, (True, False)),
        ({1e-3: 0.80, 1e-2: 0.94, 1e-1: 0.98}, "validation_accuracy", 1e-2, 1e-1, (False, True)),
        ({1e-3: 0.97, 1e-2: 0.5, 1e-1: 0.98}, "validation_accuracy", 1e-1, 1e-1, (False, True)),
        ({1e-3: 0.97, 1e-2: None, 1e-1: 0.98, 1.0: None}, "validation_accuracy", 1e-1, 1e-1, (False, False)),
        # In the order of the rates, whatever the order of the trials.
        ({1e-1: 3.0, 1e-3: 2.0, 1e-2: 2.05, 1e-4: 5.0}, "validation_loss", 1e-3, 1e-2, (False, False)),
    ],
)
def test_the_window_is_around_the_best_without_a_gap(scores, metric, low, high, is_open):
    found = window(tried(scores, metric=metric), rising="accuracy" in metric)
    assert found is not None
    assert (found.low, found.high, (found.open_below, found.open_above)) == (low, high, is_open)
    assert found.low <= found.best <= found.high


def test_a_rate_has_its_best_score_over_the_other_keys():
    trials = [*tried({1e-3: 2.0, 1e-2: None}, width=64), *tried({1e-3: 5.0, 1e-2: 2.01}, width=128)]
    assert window(trials, rising=False) == Window(1e-3, 1e-2, 1e-3, True, True)


def test_there_is_no_window_of_one_rate_nor_of_none():
    assert window(tried({1e-3: 2.0}), rising=False) is None
    assert window(tried({1e-3: None, 1e-2: None}), rising=False) is None
    assert window([Tried({"model.width": 8}, 7, "done", None, "validation_loss", 1.0, 10)], rising=False) is None


def test_the_edge_is_said_of_numbers_of_which_there_are_two():
    trials = tried({1e-3: 3.0, 1e-2: 2.0, 1e-1: 1.0}, name="a", width=8)
    assert edges(trials, trials[2]) == {LEARNING_RATE: "largest"}
    assert edges(trials, trials[0]) == {LEARNING_RATE: "smallest"}
    assert edges(trials, trials[1]) == edges(trials, None) == {}
    beyond = [*trials, *tried({1.0: None})]
    assert edges(beyond, trials[2]) == {}


def test_a_search_brings_them_together():
    one = Tuned("mqar", "linear", rising=False, tried=tuple(tried({1e-3: 3.0, 1e-2: 2.0})))
    assert one.chosen is one.tried[1]
    assert one.window == Window(1e-2, 1e-2, 1e-2, False, True)
    assert one.edges == {LEARNING_RATE: "largest"}


def test_the_seed_of_a_search_is_no_usual_one_and_always_the_same():
    assert search_seed(0) == 3514522244
    assert len({search_seed(seed) for seed in range(20)}) == 20
    assert all(1000 < search_seed(seed) < 2**32 for seed in range(20))
