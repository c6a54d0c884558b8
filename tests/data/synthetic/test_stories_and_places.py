"""Stories whose answers are facts away, and places to be pointed at, against plain Python."""

import numpy as np
import pytest

from attention_jax import data
from attention_jax.data.synthetic.convex_hull import hull_of

SIZES = {"train_examples": 300, "validation_examples": 100, "test_examples": 100}
PUT, TOOK, WENT, WHERE = range(1, 5)


def rows_of(dataset, split):
    source = dataset.splits[split]
    batch = source.gather(np.arange(len(source)))
    return [{name: array[row] for name, array in batch.items()} for row in range(len(source))]


def told(row):
    """Returns whose each thing or box is, and where each person is in the end."""
    holder, place = {}, {}
    for first, verb, second in row["story"][: row["story_lengths"]].tolist():
        if verb == WENT:
            place[first] = second
        elif verb == PUT:
            holder[first] = second
        else:
            assert verb == TOOK
            holder[second] = first
    return holder, place


def chain_of(entity, holder, place):
    chain = [entity]
    while chain[-1] in holder:
        chain.append(holder[chain[-1]])
    return (*chain, place[chain[-1]])


@pytest.mark.parametrize("facts", [2, 3])
def test_answers_follow_from_the_facts_and_no_chain_is_in_two_splits(facts):
    dataset = data.build("stories", facts=facts, entities=10, shortest=1, longest=4, **SIZES)
    chains, asked = {}, set()
    for split in ("train", "validation", "test"):
        chains[split] = set()
        for row in rows_of(dataset, split):
            assert not row["story"][row["story_lengths"] :].any()
            holder, place = told(row)
            found = chain_of(row["question"][1], holder, place)
            assert row["question"][0] == WHERE
            assert found[-1] == row["label"]
            asked.add((split == "train", len(found)))
            things = set(holder) - set(holder.values())
            chains[split] |= {chain_of(thing, holder, place) for thing in things}
    assert asked == {(False, facts + 1), *((True, length) for length in range(2, facts + 2))}
    assert not chains["train"] & chains["validation"]
    assert not chains["train"] & chains["test"]
    # Any thing may be in any place: a rule of pairs would tell the answer.
    pairs = {(chain[0], chain[-1]) for chain in chains["train"]}
    assert len(pairs) > 95


@pytest.mark.parametrize("name", ["sorting", "convex_hull"])
def test_places_are_those_of_the_source_and_end(name):
    dataset = data.build(name, shortest=4, longest=7, **SIZES)
    for row in rows_of(dataset, "test"):
        count, length = row["source_lengths"], row["target_lengths"]
        places = row["targets"][: length - 1]
        assert not row["targets"][length - 1 :].any()
        assert row["inputs"].tolist() == [0, *row["targets"][:-1]]
        assert row["weights"].tolist() == [1] * length + [0] * (8 - length)
        if name == "sorting":
            assert row["source"][places - 1].tolist() == sorted(row["source"][:count].tolist())
            assert len({*row["source"][:count].tolist()}) == count
            continue
        # Each edge has all points at its left.
        corners = row["points"][places - 1].astype(np.float64)
        for one, other in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            (x, y), (dx, dy) = (row["points"][:count].astype(np.float64) - one).T, other - one
            turns = dx * y - dy * x
            assert (turns >= 0).all()
            assert (turns > 0).sum() == count - 2
        assert places[0] == places.min()


def test_the_corners_of_a_square_with_points_on_its_edges():
    points = np.array([[0.5, 0.5], [1, 1], [0, 0], [0.5, 0], [1, 0], [0, 1]], np.float32)
    assert hull_of(points).tolist() == [1, 5, 2, 4]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("stories", {"facts": 4}, ["facts=4", "2 or 3"]),
        ("stories", {"entities": 12}, ["entities=12", "use 15"]),
        ("stories", {"easier": 1.5}, ["easier=1.5"]),
        ("stories", {"shortest": 5}, ["longest 4"]),
        ("sorting", {"numbers": 10}, ["numbers=10", "use 11"]),
        ("sorting", {"shortest": 12}, ["longest"]),
        ("convex_hull", {"shortest": 2}, ["shortest=2", "at least 3"]),
    ],
)
def test_sizes_that_cannot_be_are_refused(refused, name, options, words):
    with refused(name, *words):
        data.build(name, **options)
