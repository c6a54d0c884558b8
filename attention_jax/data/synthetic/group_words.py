"""State tracking: the running product of the elements of a group."""

import itertools

import numpy as np

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, Draw, generated

# (points, whether even permutations alone)
_GROUPS = {"S3": (3, False), "S4": (4, False), "A5": (5, True), "S5": (5, False)}


@register
def group_words(
    *,
    group: str = "S3",
    length: int = 32,
    test_length: int = 128,
    positions: str = "index",
    train_examples: int = 100_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns words of a group: fields inputs, targets, weights [B, T], and positions where random; every weight is 1.

    A token is a permutation, numbered in lexicographic order from the identity, 0. The tokens are uniform, and the
    target of g_t is g_t after ... after g_2 after g_1, as such a number.

    Source: Merrill et al., "The Illusion of State in State-Space Models" (arXiv 2404.08819), section 5 (A5, S5), and
    Siems et al., "DeltaProduct" (arXiv 2502.10297), which adds S3 and S4 and trains on 128 elements, tests on 512.
    Differences: finite splits, with no word of training in the others; a test word has one length.

    Args:
      group: "S3", "S4", "S5" (all permutations of so many points; 6, 24, 120 of them) or "A5" (the 60 even ones of 5).
      length: elements of a word in training and validation, T.
      test_length: elements of a word in test.
      positions: "index", or "randomized" for models with learned positions whose test words are longer: see `parity`.
      train_examples, validation_examples, test_examples: words in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size, a choice or the seed is impossible.
    """
    name = "group_words"
    if group not in _GROUPS:
        raise Refused(f"{name} has no group {group!r}.{did_you_mean(str(group), _GROUPS)}")
    draws.check_at_least(name, 1, length=length, test_length=test_length)
    draws.check_choice(name, draws.POSITIONS, positions=positions)
    products = multiplication_table(group)
    largest = draws.positions_for(max(length, test_length), positions)

    def draw_of(tokens: int) -> Draw:
        def draw(rng: np.random.Generator, rows: int) -> Arrays:
            words = rng.integers(len(products), size=(rows, tokens), dtype=np.int32)
            states = np.empty_like(words)
            state = np.zeros(rows, np.int32)
            for place in range(tokens):
                states[:, place] = state = products[words[:, place], state]
            arrays = {"inputs": words, "targets": states, "weights": np.ones(words.shape, np.float32)}
            return draws.with_positions(rng, arrays, positions, length=largest)

        return draw

    splits = generated(
        name,
        draw_of(length),
        draw_test=draw_of(test_length),
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    return Dataset(splits=splits, facts={"vocabulary_size": len(products), "length": largest})


def multiplication_table(group: str) -> np.ndarray:
    """Returns the number of "first `b`, then `a`" at [a, b] for permutations a and b of a group, int32 [G, G].

    Args:
      group: "S3", "S4", "S5" or "A5".
    """
    points, even = _GROUPS[group]
    elements = np.array(list(itertools.permutations(range(points))))
    if even:
        above = elements[:, :, None] > elements[:, None, :]
        inversions = np.sum(np.triu(above, 1), axis=(1, 2))
        elements = elements[inversions % 2 == 0]
    # a after b takes point i to a[b[i]].
    products = elements[:, elements]
    digits = points ** np.arange(points)
    number = np.zeros(points**points, np.int32)
    number[elements @ digits] = np.arange(len(elements))
    return number[products @ digits]
