"""Stories whose questions are answered by two or three facts, each of which leads to the next."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, Draw, generated

# Token 0 stands beside words. The verbs follow it, then the entities, kind by kind.
_PUT, _TOOK, _WENT, _WHERE = range(1, 5)
_VERBS = 5
# The share of all chains that each held-out split has to itself is one in so many.
_HELD_OUT = 5


@register
def stories(
    *,
    facts: int = 2,
    entities: int = 20,
    shortest: int = 2,
    longest: int = 4,
    moves: int = 2,
    easier: float = 0.5,
    train_examples: int = 200_000,
    validation_examples: int = 2_000,
    test_examples: int = 2_000,
    seed: int = 0,
) -> Dataset:
    """Returns stories and a question about each: story [B, S, 3], story_lengths, question [B, 2] and label [B], int32.

    A story tells of n things in n chains. With two facts a chain is "person took thing" and `moves` times "person went
    place", the last of which counts; with three "thing put box", "person took box" and the same. All sentences are
    shuffled. The question is "where thing" of one of them, the answer the place where its person is: each fact names
    the one that the next is about, so that the answer is two or three hops away. Words are ids: entities are drawn anew
    for each story, the places with repetition, and mean nothing beyond it.

    No chain of a validation or test story, from the thing to where it is, is in a training story: a fifth of all chains
    is in validation alone, and another in test. Of any two of its entities all pairs are in each split, since which
    things are never in some place is soon learned, and tells an answer without a hop.

    Some of the training questions are easier: about a later entity of a chain, whose answer needs fewer facts. All
    those of validation and test are about things.

    Source: the second and the third task, two and three supporting facts, of Weston et al., "Towards AI-Complete
    Question Answering" (arXiv 1502.05698). Differences: sentences are three ids; entities are drawn for each story from
    many, where there 4 persons and 6 places are in all; nothing is dropped, and a box carries what there the order of
    events asks for.

    Args:
      facts: that an answer needs, 2 or 3.
      entities: of each kind; a multiple of 5, and at least `longest`.
      shortest, longest: things in a story, n; each number is as likely as another.
      moves: how often each person goes to a place.
      easier: the share of the training questions that are about another entity of a chain than its thing, each as
        likely as another.
      train_examples, validation_examples, test_examples: stories in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size or the seed is impossible.
    """
    name = "stories"
    if facts not in (2, 3):
        raise Refused(f"{name} facts={facts}: an answer needs 2 or 3.")
    draws.check_at_least(name, 1, shortest=shortest, moves=moves)
    draws.check_at_least(name, shortest, longest=longest)
    draws.check_at_least(name, longest, entities=entities)
    if entities % _HELD_OUT:
        raise Refused(f"{name} entities={entities} is no multiple of {_HELD_OUT}: use {-(-entities // 5) * 5}.")

    if not 0 <= easier <= 1:
        raise Refused(f"{name} easier={easier}: give a share of the training questions, in [0, 1].")

    def draw_of(shares: tuple[int, ...], easier: float = 0.0) -> Draw:
        return lambda rng, rows: _examples(rng, rows, facts, entities, (shortest, longest), moves, shares, easier)

    splits = generated(
        name,
        draw_of(tuple(range(2, _HELD_OUT)), easier),
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
        draw_validation=draw_of((0,)),
        draw_test=draw_of((1,)),
        told_apart_by="story",
    )
    words = _VERBS + (4 if facts == 3 else 3) * entities
    return Dataset(
        splits=splits,
        facts={"vocabulary_size": words, "num_classes": words, "story_length": longest * (facts - 1 + moves)},
    )


def _examples(
    rng: np.random.Generator,
    rows: int,
    facts: int,
    entities: int,
    things: tuple[int, int],
    moves: int,
    shares: tuple[int, ...],
    easier: float,
) -> Arrays:
    """Returns stories; the entities of each chain, as numbers added up, leave one of `shares` when divided by 5."""
    shape = rows, things[1]
    counts = rng.integers(things[0], things[1] + 1, size=rows)
    kinds = 3 if facts == 2 else 4
    chain = [
        draws.distinct(rng, shape, low=_VERBS + kind * entities, high=_VERBS + (kind + 1) * entities)
        for kind in range(kinds - 1)
    ]
    went = rng.integers(entities, size=(*shape, moves))
    # Where its person went last is where a thing is.
    share = rng.choice(np.array(shares), size=shape)
    went[..., -1] = went[..., -1] // _HELD_OUT * _HELD_OUT + (share - sum(chain)) % _HELD_OUT
    went = (went + _VERBS + (kinds - 1) * entities).astype(np.int32)
    sentences = _told(chain, went)
    # A person goes in the order of the moves: of the turns that are drawn for them the earlier is the earlier move's.
    turns = rng.random(sentences.shape[:3])
    turns[..., facts - 1 :] = np.sort(turns[..., facts - 1 :], axis=2)
    turns[np.arange(shape[1]) >= counts[:, None]] = 2.0
    order = np.argsort(turns.reshape(rows, -1), axis=1)
    story = np.take_along_axis(sentences.reshape(rows, -1, 3), order[..., None], axis=1)
    lengths = (counts * sentences.shape[2]).astype(np.int32)
    story[np.arange(story.shape[1]) >= lengths[:, None]] = 0
    every, about = np.arange(rows), rng.integers(counts)
    kind = np.where(rng.random(rows) < easier, rng.integers(1, len(chain), size=rows), 0)
    question = np.stack([np.full(rows, _WHERE, np.int32), np.stack(chain)[kind, every, about]], axis=1)
    return {"story": story, "story_lengths": lengths, "question": question, "label": went[every, about, -1]}


def _told(chain: list[np.ndarray], went: np.ndarray) -> np.ndarray:
    """Returns the sentences of each chain, those of its person's moves last: int32 [N, things, sentences, 3]."""
    verbs = (_TOOK,) if len(chain) == 2 else (_PUT, _TOOK)
    # A thing is put into a box, and a person takes one: the later entity of the chain does what the verb says.
    pairs = [(chain[0], _PUT, chain[1]) if verb == _PUT else (chain[-1], _TOOK, chain[-2]) for verb in verbs]
    pairs += [(chain[-1], _WENT, went[..., move]) for move in range(went.shape[2])]
    return np.stack(
        [np.stack([first, np.full_like(first, verb), second], axis=-1) for first, verb, second in pairs], axis=2
    )
