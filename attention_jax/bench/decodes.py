"""Greedy decoding as values: GPT-2 in three sizes, the same weights and prompts for everyone, and the measures."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from attention_jax.bench.cases import Kind, Process, Quantity
from attention_jax.bench.gpt_weights import drawn, gpt_shapes
from attention_jax.bench.measures import Comparison, Measure

# As wide as those of a trained model, so that logits are apart and rounding does not choose the token.
STDDEV = 0.1
EPSILON = 1e-5
# Layers, heads, width, vocabulary. 12x768 is GPT-2's own, whose output matrix has 31% of its weights. With that
# vocabulary it would have 89% and 73% in the small models, and the bench were of one matrix; with 4096 it has 40% and
# 18%.
SIZES = ((4, 4, 128, 4096), (6, 8, 256, 4096), (12, 12, 768, 50257))
# What is asked for at batch 1 and at 16, by layers and width: times the speed of transformers at its best.
BARS = {(4, 128): (5, 3), (6, 256): (5, 3), (12, 768): (1.5, 1)}
TRANSFORMERS = "transformers"
READING = "reading the weights"


@dataclass(frozen=True, kw_only=True)
class DecodeCase:
    """A greedy continuation of B prompts by a GPT-2 in float32: learned positions, biases, tanh gelu, a tied head.

    Attributes:
      who: "attention_jax", "transformers", or "reading the weights", the bytes of all weights read once per step.
      process: as of `Case`.
      quantity: "run": the time of all steps, the prompt's too, over their number.
      compiled: whether transformers runs with a static cache and torch.compile, or eagerly.
      threads: how many threads transformers gets.
      layers: how many blocks.
      heads: N.
      width: D.
      vocabulary: V.
      batch: B.
      tokens: P, of each prompt.
      new_tokens: M.
    """

    kind: ClassVar[Kind] = "decode"

    who: str
    process: Process
    quantity: Quantity = "run"
    compiled: bool = False
    threads: int = 1
    layers: int
    heads: int
    width: int
    vocabulary: int
    batch: int
    tokens: int
    new_tokens: int

    @property
    def shape(self) -> dict[str, Any]:
        """The sizes by the letters of the field."""
        names = {"L": "layers", "N": "heads", "D": "width", "V": "vocabulary", "B": "batch", "P": "tokens"}
        return {letter: getattr(self, name) for letter, name in names.items()} | {"M": self.new_tokens}

    @property
    def weight_bytes(self) -> int:
        """The bytes that a step reads: all weights but the positions, of which it takes one."""
        every = weight_shapes(self)
        return 4 * sum(int(np.prod(shape)) for path, shape in every.items() if path != "position/embedding")

    def to_json(self) -> dict[str, Any]:
        """Returns the values that `DecodeCase(**values)` makes it of again."""
        return asdict(self)


@dataclass(frozen=True)
class DecodeSettings:
    """What the command line chooses.

    Attributes:
      tokens: P, of each prompt.
      new_tokens: M.
    """

    kind: ClassVar[Kind] = "decode"
    smallest: ClassVar[dict[str, int]] = {"tokens": 1, "new_tokens": 1}

    tokens: int = 64
    new_tokens: int = 128

    @property
    def sizes(self) -> str:
        """The sizes in words."""
        return f"a prompt of {self.tokens} tokens, {self.new_tokens} new ones; a figure is of one step of all rows"

    def case(self, layers: int, heads: int, width: int, vocabulary: int, *, batch: int) -> DecodeCase:
        """Returns our own case."""
        sizes: dict[str, Any] = {
            "layers": layers,
            "heads": heads,
            "width": width,
            "vocabulary": vocabulary,
            "batch": batch,
        }
        return DecodeCase(who="attention_jax", process="one_device", **asdict(self), **sizes)


def weight_shapes(case: DecodeCase) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the parameters by path, as `gpt_shapes` has them."""
    sizes = {"layers": case.layers, "heads": case.heads, "width": case.width, "vocabulary": case.vocabulary}
    return gpt_shapes(**sizes, length=case.tokens + case.new_tokens, biased=True)


def weights(case: DecodeCase) -> dict[str, np.ndarray]:
    """Returns the parameters by path, the same numbers each time."""
    return drawn(weight_shapes(case), stddev=STDDEV)


def prompts(case: DecodeCase) -> np.ndarray:
    """Returns drawn tokens, int32 [B, P]."""
    rng = np.random.default_rng(1)
    return rng.integers(case.vocabulary, size=(case.batch, case.tokens), dtype=np.int32)


def _decode(settings: DecodeSettings, *, sizes: tuple[int, int, int, int]) -> Iterator[Comparison]:
    layers, _, width, vocabulary = sizes
    for batch, bar in zip((1, 16), BARS[layers, width], strict=True):
        ours = settings.case(*sizes, batch=batch)
        theirs = replace(ours, who=TRANSFORMERS, process="torch")
        yield Comparison(
            what=f"a step of decoding, {layers}x{width}, V={vocabulary}, batch {batch} (at least {bar}x transformers)",
            ratio="speed",
            ours=ours,
            peers={
                f"{TRANSFORMERS}, {how}, {threads} thread{'s' * (threads > 1)}": replace(
                    theirs, compiled=compiled, threads=threads
                )
                for compiled, how in ((False, "eager"), (True, "static cache, compiled"))
                for threads in (1, 2)
            }
            | {READING: replace(ours, who=READING)},
            tokens=True,
        )


DECODE_MEASURES = tuple(
    Measure(
        f"{sizes[0]}x{sizes[2]}",
        f"greedy decoding, {sizes[0]} layers of width {sizes[2]}, batch 1 and 16, against transformers and the memory",
        partial(_decode, sizes=sizes),
        together="fastest",
    )
    for sizes in SIZES
)
