"""Continues prompts in chunks, and hands out their text as it comes; stops at strings."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Int, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.decoding.generate import Draw, Generated, Progress, Rules, checked_draw, proceeded, started
from attention_jax.decoding.layout import with_tables
from attention_jax.decoding.protocol import Advance, Constrain, State, checked_prompt
from attention_jax.decoding.sampling import GREEDY, Sampling

# How a decoder of bytes writes a character that is not whole yet.
UNFINISHED = "\ufffd"


@dataclass(frozen=True)
class Piece:
    """What one chunk adds to one row.

    Attributes:
      tokens: the new tokens, an end token among them, up to the one that completes a stop string.
      text: the new text, without the end token's and without the stop string. Text that may turn out to be the start
        of a stop string comes with a later piece.
      log_probability: of the new tokens, as in `Generated`.
      over: why the row is over with this piece or was before: an end token, a stop string, `max_new_tokens`, or that no
        token was possible; None for a row that goes on.
    """

    tokens: tuple[int, ...]
    text: str
    log_probability: float
    over: Literal["end", "stop", "length", "nothing"] | None


def stream(
    advance: Advance,
    state: State,
    prompt: Int[Array, "B P"],
    prompt_lengths: Int[Array, " B"],
    *,
    decode: Callable[[Sequence[int]], str],
    max_new_tokens: int,
    end: tuple[int, ...],
    stop: tuple[str, ...] = (),
    chunk: int = 16,
    sampling: Sampling = GREEDY,
    rng: PRNGKeyArray | None = None,
    rows: Int[Array, " B"] | None = None,
    constrain: Constrain | None = None,
    pad: int = 0,
) -> Iterator[list[Piece]]:
    """Continues prompts as `generate` does, `chunk` tokens at a time, and yields a piece of each row after each chunk.

    All pieces of a row together are the same for every `chunk`: the tokens of `generate`, or, where a stop string comes
    up in their text, those up to the first with which it does. The text ends before the stop string.

    Not for jit: it compiles two programs itself, and reuses them as long as the shapes and what is not an array stay.

    Args:
      advance: as for `generate`. The arrays it needs beside the state, such as parameters, come as arguments of a
        `jax.tree_util.Partial(function, *arrays)`; arrays that a plain function closes over become constants.
      state: as for `generate`; it is copied once, and the copy is written in place.
      prompt: as for `generate`.
      prompt_lengths: as for `generate`.
      decode: the text of tokens. That of the first tokens must be how that of more tokens starts, but for characters at
        its end that are not whole yet, written as U+FFFD.
      max_new_tokens: as for `generate`.
      end: as for `generate`.
      stop: strings at which a row is over.
      chunk: tokens between two looks at the text, at least 1.
      sampling: as for `generate`.
      rng: as for `generate`.
      rows: as for `generate`.
      constrain: as for `generate`; with one that is equal to that of an earlier call, nothing is compiled again.
      pad: as for `generate`.

    Returns:
      An iterator over chunks, which gives a piece for each row until all rows are over.

    Raises:
      Refused: as for `generate`; or a stop string is empty, or `chunk` smaller than 1.
    """
    if chunk < 1:
        raise Refused(f"chunk={chunk}: give at least 1 token.")
    if "" in stop:
        raise Refused(f"stop={stop}: the empty string is in every text, so nothing would be written. Leave it out.")
    prompt, lengths = checked_prompt(state, prompt, prompt_lengths, max_new_tokens=max_new_tokens, pad=pad)
    draw = checked_draw(rng, rows, batch=prompt.shape[0])
    rules = Rules(sampling=sampling, constrain=constrain, end=end, pad=pad)
    advance = advance if isinstance(advance, Partial) else Partial(advance)
    # Both programs write where their arguments lie, and a program may hand on an argument as its result.
    own = jax.tree.map(jnp.copy, state)
    progress = _start(advance, own, prompt, lengths, draw, rules=rules, max_new_tokens=max_new_tokens)
    # Once, not for each chunk.
    advance = _with_tables(advance)
    return _pieces(advance, progress, draw, rules, decode=decode, stop=stop, chunk=chunk)


@functools.partial(jax.jit, static_argnames=("rules", "max_new_tokens"), donate_argnames="state")
def _start(
    advance: Advance,
    state: State,
    prompt: Int[Array, "B P"],
    lengths: Int[Array, " B"],
    draw: Draw,
    *,
    rules: Rules,
    max_new_tokens: int,
) -> Progress:
    return started(advance, state, prompt, lengths, draw, rules=rules, max_new_tokens=max_new_tokens)


_with_tables = jax.jit(with_tables)


@functools.partial(jax.jit, static_argnames="rules", donate_argnames="progress")
def _proceed(advance: Advance, progress: Progress, draw: Draw, until: Int[Array, ""], *, rules: Rules) -> Progress:
    return proceeded(advance, progress, draw, until, rules=rules)


def _pieces(
    advance: Advance,
    progress: Progress,
    draw: Draw,
    rules: Rules,
    *,
    decode: Callable[[Sequence[int]], str],
    stop: tuple[str, ...],
    chunk: int,
) -> Iterator[list[Piece]]:
    batch, most = progress.generated.tokens.shape
    texts = [_Text(decode, stop) for _ in range(batch)]
    for until in range(min(chunk, most), most + chunk, chunk):
        progress = _proceed(advance, progress, draw, jnp.int32(min(until, most)), rules=rules)
        made: Generated = jax.device_get(progress.generated)
        yield [text.extended(made, row) for row, text in enumerate(texts)]
        if all(text.over for text in texts):
            return
        stopped = np.array([text.over == "stop" for text in texts])
        progress = replace(progress, going=progress.going & ~jnp.asarray(stopped))


@dataclass
class _Text:
    """The text of one row so far."""

    decode: Callable[[Sequence[int]], str]
    stop: tuple[str, ...]
    tokens: list[int] = field(default_factory=list)
    given: int = 0
    over: Literal["end", "stop", "length", "nothing"] | None = None

    def extended(self, made: Generated, row: int) -> Piece:
        """Takes up what a row has become, and returns what is new."""
        if self.over:
            return Piece(tokens=(), text="", log_probability=0.0, over=self.over)
        before, length = len(self.tokens), int(made.lengths[row])
        known = made.tokens[row, :length].tolist()
        if made.ended[row]:
            self.over = "end"
        elif not np.isfinite(made.log_probabilities[row]).all():
            self.over = "nothing"
        elif length == made.tokens.shape[1]:
            self.over = "length"
        text, count = self._cut(known, before)
        self.tokens = known[:count]
        # A row without a possible token says so in the place of the token.
        counted = slice(before, count + (self.over == "nothing"))
        new, self.given = text[self.given :], max(self.given, len(text))
        return Piece(
            tokens=tuple(known[before:count]),
            text=new,
            log_probability=float(made.log_probabilities[row, counted].sum()),
            over=self.over,
        )

    def _cut(self, known: list[int], before: int) -> tuple[str, int]:
        """Returns the text that can be given out, and how many tokens stay."""
        body = known[:-1] if self.over == "end" else known
        text = self.decode(body)
        if self._found(text):
            self.over = "stop"
            for count in range(before + 1, len(body) + 1):
                text = self.decode(body[:count])
                if self._found(text):
                    return text[: min(self._found(text))], count
        if self.over:
            return text, len(known)
        text = text.rstrip(UNFINISHED)
        return text[: len(text) - self._begun(text)], len(known)

    def _found(self, text: str) -> list[int]:
        """Returns where each stop string that the text holds starts."""
        return [text.index(word) for word in self.stop if word in text]

    def _begun(self, text: str) -> int:
        """Returns how many characters at the end of the text may become a stop string."""
        starts = (size for word in self.stop for size in range(1, len(word)) if text.endswith(word[:size]))
        return max(starts, default=0)
