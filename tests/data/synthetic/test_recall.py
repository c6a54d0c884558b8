"""Recall in its forms: each answer is worked out again from the tokens alone, and the published faults are not ours."""

import numpy as np
import pytest
from scipy.stats import chisquare

from attention_jax import data


def draw(name: str, split: str = "train", examples: int = 400, **options) -> dict[str, np.ndarray]:
    sizes = {"train_examples": 1, "validation_examples": 1, "test_examples": 1, f"{split}_examples": examples}
    return data.build(name, **{**sizes, **options}).splits[split].gather(np.arange(examples))


def scored(batch: dict[str, np.ndarray]):
    """Yields, for each question, the tokens before it and with it, and the answer wanted."""
    for tokens, targets, weights in zip(
        *(batch[name].tolist() for name in ("inputs", "targets", "weights")), strict=True
    ):
        for place, weight in enumerate(weights):
            if weight:
                yield tokens[: place + 1], targets[place]


@pytest.mark.parametrize("fillers", ["random", "zero"])
def test_mqar_answers_are_what_followed_the_key_first(fillers):
    for seen, answer in scored(draw("mqar", vocabulary_size=70, length=64, pairs=8, fillers=fillers)):
        assert answer == seen[seen.index(seen[-1]) + 1]


def test_zero_fillers_of_mqar_show_no_key_but_as_pair_and_question():
    """Random fillers, the published law, may show a live key (zoology issue 29): these are two tasks."""
    zero, random = (draw("mqar", vocabulary_size=70, length=64, pairs=8, fillers=kind) for kind in ("zero", "random"))
    counts = [np.sum(batch["inputs"][:, None] == batch["inputs"][:, 0:16:2, None], axis=2) for batch in (zero, random)]
    assert (counts[0] == 2).all()
    assert (counts[1] > 2).any()
    rest = zero["inputs"][:, 16:]
    assert (rest[zero["weights"][:, 16:] == 0] == 0).all()
    # All else is drawn alike.
    for field in ("targets", "weights"):
        np.testing.assert_array_equal(zero[field], random[field])


@pytest.mark.parametrize("fillers", ["random", "zero"])
@pytest.mark.parametrize("pairs", [4, 9])
def test_compositional_answers_need_both_keys(fillers, pairs):
    batch = draw("compositional_mqar", vocabulary_size=90, length=64, pairs=(pairs,), fillers=fillers)
    for seen, answer in scored(batch):
        first, second = seen[-2:]
        context = seen[: 3 * pairs]
        bound = {(one, two): value for one, two, value in zip(*(context[part::3] for part in range(3)), strict=True)}
        assert bound[first, second] == answer
        assert len({value for (one, _), value in bound.items() if one == first}) == pairs**0.5
        assert len({value for (_, two), value in bound.items() if two == second}) == pairs**0.5
        assert 1 <= first < 30 <= second < 60 <= answer < 90
        # Random fillers bind no key anew.
        assert seen[3 * pairs :].count(first) <= pairs**0.5


def test_compositional_keys_form_a_grid_in_any_order():
    batch = draw("compositional_mqar", vocabulary_size=90, length=54, pairs=(9,), examples=2000)
    triples = batch["inputs"][:, :27].reshape(-1, 9, 3)
    for row in triples[:200]:
        firsts, seconds, values = (set(column) for column in row.T.tolist())
        assert (len(firsts), len(seconds), len(values)) == (3, 3, 9)
        assert {(one, two) for one, two, _ in row.tolist()} == {(one, two) for one in firsts for two in seconds}
    shared = np.mean(triples[:, 0, 0] == triples[:, 1, 0])
    assert abs(shared - 2 / 8) < 0.04, "the second triple is any of the eight others, two of which share the first key"


def test_compositional_questions_stand_three_apart_and_once_each():
    batch = draw("compositional_mqar", vocabulary_size=90, length=60, pairs=(4,), fillers="zero")
    places = np.nonzero(batch["weights"])[1].reshape(-1, 4)
    assert ((places - 12) % 3 == 1).all()
    asked = np.stack([np.take_along_axis(batch["inputs"], places - back, axis=1) for back in (1, 0)], axis=2)
    keys = batch["inputs"][:, :12].reshape(-1, 4, 3)[:, :, :2]
    assert all({*map(tuple, one)} == {*map(tuple, other)} for one, other in zip(asked, keys, strict=True))


def test_compositional_test_pairs_may_differ():
    batch = draw("compositional_mqar", "test", vocabulary_size=128, length=96, pairs=(4,), test_pairs=(9, 16))
    assert set(batch["weights"].sum(axis=1)) == {9.0, 16.0}


@pytest.mark.parametrize("fillers", ["random", "zero"])
def test_forgetting_answers_are_the_value_that_a_key_had_last(fillers):
    for seen, answer in scored(draw("forgetting_mqar", vocabulary_size=80, length=64, fillers=fillers)):
        latest = {key: value for key, value in zip(seen[0:24:2], seen[1:24:2], strict=True)}
        assert latest[seen[-1]] == answer
        # Random fillers bind no key anew either.
        assert seen[24:].count(seen[-1]) == 1


def test_forgetting_binds_a_key_to_another_value_than_its_first():
    """Zoology's draws one other than the value of some key, mostly of another."""
    batch = draw("forgetting_mqar", vocabulary_size=40, length=32, pairs=4, updates=4, examples=3000)
    inputs = batch["inputs"]
    for row in inputs[:, :16].tolist():
        first, new = dict(zip(row[0:8:2], row[1:8:2], strict=True)), dict(zip(row[8::2], row[9::2], strict=True))
        assert first.keys() == new.keys()
        assert all(first[key] != new[key] for key in first)
    observed = np.bincount(inputs[:, 9] - 20, minlength=20)
    assert chisquare(observed).pvalue > 1e-3, "new values are uniform"


@pytest.mark.parametrize("updates", [0, 1, 8])
def test_forgetting_updates_so_many_keys(updates):
    batch = draw("forgetting_mqar", vocabulary_size=80, length=64, updates=updates, fillers="zero")
    start = 2 * (8 + updates)
    assert (batch["weights"][:, :start] == 0).all()
    keys = batch["inputs"][:, 0:start:2]
    assert all(len(set(row)) == 8 for row in keys.tolist())


@pytest.mark.parametrize(("pairs", "passes"), [(4, 1), (6, 3), (31, 1)])
def test_stacked_answers_are_the_value_beside_the_key(pairs, passes):
    batch = draw("stacked_mqar", vocabulary_size=64, pairs=pairs, passes=passes)
    shown = passes * pairs
    assert batch["inputs"].shape == (400, shown + pairs, 2)
    assert (batch["weights"] == (np.arange(shown + pairs) >= shown)).all()
    orders = set()
    for places, targets in zip(batch["inputs"].tolist(), batch["targets"].tolist(), strict=True):
        bound = dict(map(tuple, places[:shown]))
        assert len(bound) == len(set(bound.values())) == pairs
        assert all(1 <= key < 32 <= value < 64 for key, value in bound.items())
        for start in range(0, shown, pairs):
            assert dict(map(tuple, places[start : start + pairs])) == bound
        asked = [key for key, nothing in places[shown:] if nothing == 0]
        assert sorted(asked) == sorted(bound)
        assert targets[shown:] == [bound[key] for key in asked]
        orders.add(tuple([key for key, _ in places[:pairs]].index(key) for key in asked))
    assert len(orders) > 10, "questions come in another order than pairs"


@pytest.mark.parametrize("options", [{}, {"fillers": "random"}, {"pairs": 32, "vocabulary_size": 80}])
def test_associative_recall_asks_for_one_of_its_keys(options):
    for seen, answer in scored(draw("associative_recall", **options)):
        assert len(seen) == 65
        assert seen[:-1].count(seen[-1]) == 1
        assert seen[seen.index(seen[-1]) + 1] == answer


def test_associative_recall_asks_at_every_distance_alike():
    inputs = draw("associative_recall", length=17, pairs=3, vocabulary_size=32, examples=4000)["inputs"]
    place = np.argmax(inputs[:, :-1] == inputs[:, -1:], axis=1)
    assert (place % 2 == 0).all()
    assert chisquare(np.bincount(place // 2, minlength=8)).pvalue > 1e-3


def test_induction_heads_answer_with_what_followed_the_mark():
    batch = draw("induction_heads", examples=3000, length=20)
    for seen, answer in scored(batch):
        assert (len(seen), seen[-1], seen.count(15)) == (20, 15, 2)
        assert seen[seen.index(15) + 1] == answer
    assert chisquare(np.bincount(np.argmax(batch["inputs"] == 15, axis=1), minlength=18)).pvalue > 1e-3


def test_induction_heads_of_several_lengths_share_no_batch():
    sizes = {"train_examples": 4, "validation_examples": 4, "test_examples": 300}
    test = data.build("induction_heads", length=8, test_lengths=(8, 16, 3), **sizes).splits["test"]
    batches = list(data.evaluation_batches(test, batch_size=32))
    shapes = [batch["inputs"].shape[1] for batch in batches]
    assert sorted(set(shapes)) == [3, 8, 16]
    assert sum(batch["valid"].sum() for batch in batches) == 300
    for batch in batches:
        assert (batch["inputs"][:, -1] == 15).all()


def test_the_needle_is_what_the_question_asks_for():
    batch = draw("needle", examples=600, lengths=(16, 40), digits=3)
    seen_lengths = set()
    for tokens, targets, weights in zip(
        *(batch[name].tolist() for name in ("inputs", "targets", "weights")), strict=True
    ):
        question, mark = tokens.index(11), tokens.index(10)
        length = question + 3
        seen_lengths.add(length)
        key = tokens[mark + 1 : mark + 4]
        assert all(token < 10 for token in key)
        assert mark + 4 <= question
        assert targets[question:length] == key
        assert tokens[question + 1 : length] == key[:-1]
        assert [place for place, weight in enumerate(weights) if weight] == list(range(question, length))
        others = tokens[:mark] + tokens[mark + 4 : question]
        assert all(12 <= token < 64 for token in others)
    assert seen_lengths == {16, 40}


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mqar", {"fillers": "zeros"}, ["'zeros'", "Did you mean 'zero'"]),
        ("compositional_mqar", {"pairs": (5,)}, ["pairs has 5", "use 4 or 9"]),
        ("compositional_mqar", {"test_pairs": (16,)}, ["16 pairs", "got 64", "use 96"]),
        ("compositional_mqar", {"length": 63}, ["even length", "got 63", "use 64"]),
        ("compositional_mqar", {"pairs": 4}, ["pairs 4", "(1,)"]),
        ("compositional_mqar", {"pairs": (4, 4)}, ["pairs (4, 4)", "different"]),
        ("compositional_mqar", {"vocabulary_size": 64}, ["vocabulary_size 64", "use 65"]),
        ("compositional_mqar", {"power": -1.0}, ["power", "-1.0"]),
        ("forgetting_mqar", {"updates": 9}, ["updates 9", "0 to 8"]),
        ("forgetting_mqar", {"length": 38}, ["8 pairs", "4 updates", "got 38", "use 40"]),
        ("forgetting_mqar", {"pairs": 0}, ["pairs 0"]),
        ("forgetting_mqar", {"vocabulary_size": 9}, ["vocabulary_size 9", "use 65"]),
        ("forgetting_mqar", {"fillers": "none"}, ["'none'", "random, zero"]),
        ("associative_recall", {"pairs": 32}, ["draws 32 different keys", "holds 31", "vocabulary_size 66"]),
        ("stacked_mqar", {"pairs": 64}, ["draws 64 different keys", "holds 63", "130 or more", "at most 63 pairs"]),
        ("stacked_mqar", {"passes": 0}, ["passes 0", "at least 1"]),
        ("associative_recall", {"length": 64}, ["odd length", "got 64", "use 65"]),
        ("associative_recall", {"pairs": 33}, ["33 pairs", "use 67"]),
        ("associative_recall", {"vocabulary_size": 0, "pairs": 1}, ["holds 0"]),
        ("induction_heads", {"vocabulary_size": 2}, ["vocabulary_size 2", "at least 3"]),
        ("induction_heads", {"test_lengths": (64, 2)}, ["test_lengths (64, 2)", "at least 3"]),
        ("needle", {"digits": 16}, ["16 digits", "33 tokens", "a length is 32"]),
        ("needle", {"lengths": ()}, ["lengths ()"]),
        ("needle", {"vocabulary_size": 12}, ["vocabulary_size 12", "at least 13"]),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(refused, name, options, words):
    with refused(name, *words):
        data.build(name, **options)
