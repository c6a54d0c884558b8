"""Beam search, in one compiled loop."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.decoding.layout import laid_out
from attention_jax.decoding.protocol import Advance, Constrain, State, check_logits, checked_prompt, of_hypotheses


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hypotheses:
    """The N best continuations of each row, best first, without their prompts. A pytree.

    Attributes:
      tokens: int32 [B, N, M], padded; the end token is one of them.
      lengths: int32 [B, N], how many of them are not padding.
      scores: float32 [B, N], the log-probability over the length penalty; -inf for a hypothesis that there is not.
      log_probability: float32 [B, N], of the continuation, nats.
      ended: bool [B, N], whether it came to an end token; if not, it has M tokens.
    """

    tokens: Int[Array, "B N M"]
    lengths: Int[Array, "B N"]
    scores: Float[Array, "B N"]
    log_probability: Float[Array, "B N"]
    ended: Bool[Array, "B N"]


def length_penalty(length: int | Int[Array, "*n"], alpha: float) -> Float[Array, "*n"]:
    """Returns ((5 + length) / 6) ** alpha (Wu et al. 2016, equation 14), by which a log-probability is divided."""
    return ((5 + jnp.asarray(length, jnp.float32)) / 6) ** alpha


def beam_search(
    advance: Advance,
    state: State,
    prompt: Int[Array, "B P"],
    prompt_lengths: Int[Array, " B"],
    *,
    beams: int,
    max_new_tokens: int,
    end: tuple[int, ...],
    alpha: float = 0.0,
    best: int = 1,
    constrain: Constrain | None = None,
    pad: int = 0,
) -> Hypotheses:
    """Looks for the continuations of the highest log-probability over length penalty (Wu et al. 2016, section 7).

    K = `beams` live hypotheses are kept, those of the highest log-probability that have not ended. All their
    continuations by one token are ranked; of the first K, those by an end token become hypotheses that compete by
    score, and the first K by another token are live next. Live ones of `max_new_tokens` compete too. A row is over when
    none of its live hypotheses can come to a better score than its `best`-th: log-probabilities only fall, so the most
    a live one can reach is what it has over the largest penalty. Of equals, the first counts: the one that ended
    earlier, then the one of the better live hypothesis, then the smaller token.

    With beams=1 and alpha=0 it is greedy decoding. With alpha > 0 it may go past an end that greedy decoding takes.

    Pure, and one loop: call it under jax.jit. `advance` has B rows for the prompt, then B * K, where row b * K + k is
    beam k of row b, and the state of a hypothesis follows it. What does not change, such as an encoder's output, is
    `Fixed` in the state: it keeps its B rows, and is not moved.

    Args:
      advance: the model, as `Advance` says.
      state: of no tokens yet; each leaf has the batch as its first axis.
      prompt: [B, P] int, padded on the right.
      prompt_lengths: [B] int, 1 to P.
      beams: K, at least 1.
      max_new_tokens: M, at least 1.
      end: the tokens that end a sequence; () for none.
      alpha: the exponent of the length penalty, 0 or more; lengths count the end token and not the prompt.
      best: N, how many hypotheses to return, 1 to K.
      constrain: sets log-probabilities to -inf, or lowers them, as `Constrain` says; it sees B * K rows. They are not
        normalised again.
      pad: the token that follows an end.

    Returns:
      The best hypotheses. Where continuations are forbidden there may be fewer than N; where logits are NaN the scores
      are.

    Raises:
      Refused: an argument cannot be.
    """
    _check(beams=beams, best=best, alpha=alpha)
    prompt, lengths = checked_prompt(state, prompt, prompt_lengths, max_new_tokens=max_new_tokens, pad=pad)
    batch = prompt.shape[0]
    rules = _Rules(beams=beams, alpha=alpha, constrain=constrain, end=end, pad=pad)
    logits, state = advance(state, prompt, lengths.astype(jnp.int32))
    check_logits(logits, batch=batch, end=end)
    search = _Search(
        step=jnp.int32(0),
        state=of_hypotheses(lambda leaf: jnp.repeat(leaf, beams, axis=0), state),
        # All beams are the same at first: one of them is enough.
        live=jnp.full((batch, beams), -jnp.inf).at[:, 0].set(0.0),
        tokens=jnp.full((batch, beams, max_new_tokens), pad, jnp.int32),
        found=_none((batch, best), max_new_tokens, pad),
    )
    search = _extended(jnp.repeat(logits, beams, axis=0), search, rules)
    advance = laid_out(advance)

    def goes_on(search: _Search) -> Bool[Array, ""]:
        return (search.step < max_new_tokens) & (search.live > -jnp.inf).any()

    def one_more(search: _Search) -> _Search:
        last = jax.lax.dynamic_slice_in_dim(search.tokens, search.step - 1, 1, axis=2)
        lengths = (search.live > -jnp.inf).astype(jnp.int32)
        logits, state = advance(search.state, last.reshape(-1, 1), lengths.reshape(-1))
        return _extended(logits, replace(search, state=state), rules)

    search = jax.lax.while_loop(goes_on, one_more, search)
    return _better(search.found, _hypotheses(search.tokens, search.live, max_new_tokens, alpha, ended=False))


def _check(*, beams: int, best: int, alpha: float) -> None:
    if beams < 1:
        raise Refused(f"beams={beams}: give at least 1.")
    if not 1 <= best <= beams:
        raise Refused(f"best={best} of beams={beams}: give 1 to {beams}, or more beams.")
    if not 0 <= alpha < float("inf"):
        raise Refused(f"alpha={alpha}: give 0 (no length penalty) or more; about 0.6 is usual.")


@dataclass(frozen=True)
class _Rules:
    beams: int
    alpha: float
    constrain: Constrain | None
    end: tuple[int, ...]
    pad: int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Search:
    """What the loop carries. The live hypotheses have `step` tokens; one with log-probability -inf is not there."""

    step: Int[Array, ""]
    state: State
    live: Float[Array, "B K"]
    tokens: Int[Array, "B K M"]
    found: Hypotheses


def _extended(logits: Float[Array, "BK V"], search: _Search, rules: _Rules) -> _Search:
    """Extends the live hypotheses by one token, whose state `search` holds and whose next logits these are."""
    batch, beams, most = search.tokens.shape
    log_probability = jax.nn.log_softmax(logits.astype(jnp.float32))
    if rules.constrain is not None:
        lengths = jnp.full(batch * beams, search.step)
        log_probability = rules.constrain(search.tokens.reshape(-1, most), lengths, log_probability)
    vocabulary = logits.shape[-1]
    # What advance returns for a hypothesis that is not there may be anything.
    live = search.live[:, :, None]
    candidates = jnp.where(live == -jnp.inf, -jnp.inf, live + log_probability.reshape(batch, beams, vocabulary))
    # Each live hypothesis has as many ends as there are end tokens, so that this many hold `beams` others.
    count = min(beams * (1 + len(rules.end)), beams * vocabulary)
    ranked, at = jax.lax.top_k(candidates.reshape(batch, -1), count)
    parent, token = at // vocabulary, (at % vocabulary).astype(jnp.int32)
    tokens = jnp.take_along_axis(search.tokens, parent[:, :, None], axis=1).at[:, :, search.step].set(token)
    ends = (token[:, :, None] == jnp.asarray(rules.end, jnp.int32)).any(-1)
    step = search.step + 1

    over = jnp.where(ends & (jnp.arange(count) < beams), ranked, -jnp.inf)
    found = _better(search.found, _hypotheses(tokens, over, step, rules.alpha, ended=True))
    live, chosen = jax.lax.top_k(jnp.where(ends, -jnp.inf, ranked), beams)
    # Log-probabilities only fall, and are divided by the largest penalty at the greatest length.
    reachable = live[:, 0] / length_penalty(most, rules.alpha)
    parent = jnp.take_along_axis(parent, chosen, axis=1)
    source = (jnp.arange(batch)[:, None] * beams + parent).reshape(-1)
    return _Search(
        step=step,
        state=of_hypotheses(lambda leaf: leaf[source], search.state),
        live=jnp.where((reachable <= found.scores[:, -1])[:, None], -jnp.inf, live),
        tokens=jnp.take_along_axis(tokens, chosen[:, :, None], axis=1),
        found=found,
    )


def _hypotheses(
    tokens: Int[Array, "B K M"],
    log_probability: Float[Array, "B K"],
    length: int | Int[Array, ""],
    alpha: float,
    *,
    ended: bool,
) -> Hypotheses:
    return Hypotheses(
        tokens=tokens,
        lengths=jnp.full(log_probability.shape, length, jnp.int32),
        scores=log_probability / length_penalty(length, alpha),
        log_probability=log_probability,
        ended=jnp.full(log_probability.shape, ended),
    )


def _none(shape: tuple[int, int], most: int, pad: int) -> Hypotheses:
    """Returns hypotheses [B, N] that are not there."""
    return Hypotheses(
        tokens=jnp.full((*shape, most), pad, jnp.int32),
        lengths=jnp.zeros(shape, jnp.int32),
        scores=jnp.full(shape, -jnp.inf),
        log_probability=jnp.full(shape, -jnp.inf),
        ended=jnp.zeros(shape, bool),
    )


def _better(found: Hypotheses, others: Hypotheses) -> Hypotheses:
    """Returns as many as were found of both together, those of the highest scores; of equals, those found before."""
    both = jax.tree.map(lambda one, other: jnp.concatenate([one, other], axis=1), found, others)
    _, at = jax.lax.top_k(both.scores, found.scores.shape[1])
    rows = jnp.arange(at.shape[0])[:, None]
    return jax.tree.map(lambda leaf: leaf[rows, at], both)
