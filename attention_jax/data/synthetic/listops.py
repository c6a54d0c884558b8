"""ListOps: nested operations on lists of digits, to be worked out to one digit."""

from dataclasses import dataclass

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.packing import ragged_arange
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, generated

_VOCABULARY = (*map(str, range(10)), "[MAX", "[MIN", "[MED", "[SM", "]")
MAX, MIN, MED, SUM, END = range(10, 15)
_OPERATION_SHARE = 0.25  # of the nodes above the deepest level
_CANDIDATES = 4096
_MOST_REFUSED = 200_000  # candidates, one after another, before a range of lengths counts as out of reach


@register
def listops(
    *,
    depth: int = 5,
    arguments: int = 5,
    shortest: int = 8,
    longest: int = 64,
    train_examples: int = 50_000,
    validation_examples: int = 2_000,
    test_examples: int = 2_000,
    seed: int = 0,
) -> Dataset:
    """Returns expressions with their value: fields tokens [B, longest], lengths [B] and label [B], 0 to 9.

    A node is an operation with probability 1/4, and else a uniform digit; at the deepest level it is a digit. An
    operation is MAX, MIN, MED (the median, rounded down) or SM (the sum modulo 10), and has 2 to `arguments` nodes as
    arguments. Expressions of other lengths than asked for are drawn again. An operation, a digit and a closing bracket
    are a token each, and padding is 0.

    Source: Nangia and Bowman, "ListOps" (arXiv 1804.06028), in the grammar of Tay et al., "Long Range Arena" (arXiv
    2011.04006; `lra_benchmarks/data/listops.py`): depth 10, 10 arguments, 501 to 1999 tokens, 96 000 / 2 000 / 2 000
    examples, which take half a minute and 0.8 GB here. Differences: the order of examples comes from the seed (there
    from Python's hashes), an expression may recur within a split, and defaults are small.

    Args:
      depth: the most levels of nodes, the first expression and the digits among them; at least 2.
      arguments: the most arguments of an operation; at least 2.
      shortest, longest: tokens in an expression, both included.
      train_examples, validation_examples, test_examples: expressions in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size or the seed is impossible, or expressions of such lengths are too rare.
    """
    name = "listops"
    draws.check_at_least(name, 2, depth=depth, arguments=arguments)
    draws.check_lengths(name, shortest=shortest, longest=longest, test_shortest=shortest, test_longest=longest)
    splits = generated(
        name,
        lambda rng, rows: _examples(rng, rows, depth, arguments, shortest, longest),
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    facts = {"vocabulary_size": len(_VOCABULARY), "length": longest, "num_classes": 10, "vocabulary": [*_VOCABULARY]}
    return Dataset(splits=splits, facts=facts)


def _examples(rng: np.random.Generator, rows: int, depth: int, arguments: int, shortest: int, longest: int) -> Arrays:
    found: list[Arrays] = []
    missing, refused = rows, 0
    while missing:
        if refused >= _MOST_REFUSED:
            raise Refused(
                f"listops found no expression of {shortest} to {longest} tokens among {refused} of depth {depth} with "
                f"up to {arguments} arguments: give other lengths, or another depth or number of arguments."
            )
        tokens, sizes, values = _candidates(rng, depth, arguments)
        ends = np.cumsum(sizes)
        kept = np.flatnonzero((sizes >= shortest) & (sizes <= longest))[:missing]
        refused = 0 if len(kept) else refused + len(sizes)
        lengths = sizes[kept]
        laid = np.zeros((len(kept), longest), np.int32)
        place = ragged_arange(lengths)
        laid[np.repeat(np.arange(len(kept)), lengths), place] = tokens[np.repeat(ends[kept] - lengths, lengths) + place]
        found.append({"tokens": laid, "lengths": lengths.astype(np.int32), "label": values[kept].astype(np.int32)})
        missing -= len(kept)
    return {field: np.concatenate([part[field] for part in found]) for field in found[0]}


@dataclass
class _Level:
    """The nodes of one depth, those of one parent side by side and in the order of their parents.

    Attributes:
      tokens: the operation or the digit of each, [M].
      operations: which nodes are operations, [O].
      counts: how many arguments each of these has, [O]; the next level has them.
    """

    tokens: np.ndarray
    operations: np.ndarray
    counts: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Where the arguments of each operation start in the next level, [O]."""
        return np.cumsum(self.counts) - self.counts


def _candidates(rng: np.random.Generator, depth: int, arguments: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the tokens of some expressions, one after another, how many each has, and the value of each."""
    levels = _levels(rng, depth, arguments)
    sizes, values = [np.ones(len(level.tokens), np.int64) for level in levels], [level.tokens for level in levels]
    for number in range(len(levels) - 2, -1, -1):
        level, below = levels[number], number + 1
        values[number] = level.tokens.copy()
        if len(level.operations):
            sizes[number][level.operations] = 2 + np.add.reduceat(sizes[below], level.starts)
            values[number][level.operations] = _values(level, values[below])
    ends = np.cumsum(sizes[0])
    tokens = np.empty(ends[-1], np.int32)
    places = ends - sizes[0]
    for number, level in enumerate(levels):
        tokens[places] = level.tokens
        opened = places[level.operations]
        tokens[opened + sizes[number][level.operations] - 1] = END
        if number + 1 < len(levels):
            # An argument starts after the operation's own token and the arguments before it.
            before = np.cumsum(sizes[number + 1]) - sizes[number + 1]
            places = np.repeat(opened + 1 - before[level.starts], level.counts) + before
    return tokens, sizes[0], values[0]


def _levels(rng: np.random.Generator, depth: int, arguments: int) -> list[_Level]:
    levels, nodes = [], _CANDIDATES
    for level in range(depth):
        share = _OPERATION_SHARE if level < depth - 1 else 0
        operations = np.flatnonzero(rng.random(nodes) < share)
        tokens = rng.integers(10, size=nodes)
        tokens[operations] = rng.integers(MAX, END, size=len(operations))
        counts = rng.integers(2, arguments + 1, size=len(operations))
        levels.append(_Level(tokens, operations, counts))
        nodes = int(counts.sum())
        if not nodes:
            break
    return levels


def _values(level: _Level, values: np.ndarray) -> np.ndarray:
    """Returns the value of each operation of a level, given those of the next level's nodes."""
    kinds, starts, counts = level.tokens[level.operations], level.starts, level.counts
    parents = np.repeat(np.arange(len(counts)), counts)
    rising = values[np.lexsort((values, parents))]
    median = (rising[starts + (counts - 1) // 2] + rising[starts + counts // 2]) // 2
    least, most = rising[starts], rising[starts + counts - 1]
    total = np.add.reduceat(values, starts) % 10
    return np.select([kinds == MAX, kinds == MIN, kinds == MED], [most, least, median], total)
