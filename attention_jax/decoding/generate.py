"""Continues prompts, greedily or by sampling, in one compiled loop."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.decoding.layout import laid_out
from attention_jax.decoding.protocol import Advance, Constrain, State, check_logits, checked_prompt
from attention_jax.decoding.sampling import GREEDY, Sampling
from attention_jax.kernels.integers import whole_numbers


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Generated:
    """Continuations, without their prompts. A pytree.

    Attributes:
      tokens: int32 [B, M], padded; the end token is one of them.
      lengths: int32 [B], how many of them are not padding.
      log_probabilities: float32 [B, M], of each token under the model's own distribution: before penalty, constraint
        and temperature; 0 for padding. A row for which no token was possible holds -inf in the place of that token, or
        NaN where the logits were NaN, and is over there.
      ended: bool [B], whether the row came to an end token.
    """

    tokens: Int[Array, "B M"]
    lengths: Int[Array, " B"]
    log_probabilities: Float[Array, "B M"]
    ended: Bool[Array, " B"]

    @property
    def log_probability(self) -> Float[Array, " B"]:
        """The log-probability of the whole continuation, nats."""
        return self.log_probabilities.sum(-1)


def generate(
    advance: Advance,
    state: State,
    prompt: Int[Array, "B P"],
    prompt_lengths: Int[Array, " B"],
    *,
    max_new_tokens: int,
    end: tuple[int, ...],
    sampling: Sampling = GREEDY,
    rng: PRNGKeyArray | None = None,
    rows: Int[Array, " B"] | None = None,
    constrain: Constrain | None = None,
    pad: int = 0,
) -> Generated:
    """Continues each prompt until an end token, or by `max_new_tokens`.

    Pure, and one loop: call it under jax.jit. The loop is over as soon as all rows are. The state needs room for
    P + max_new_tokens - 1 tokens, since the last token is not advanced over.

    A row depends on no other row: draws are a pure function of (rng, the row's number, step).

    Args:
      advance: the model, as `Advance` says.
      state: of no tokens yet; each leaf has the batch as its first axis.
      prompt: [B, P] int, padded on the right.
      prompt_lengths: [B] int, 1 to P.
      max_new_tokens: M, at least 1.
      end: the tokens that end a sequence; () for none.
      sampling: how a token is chosen.
      rng: a key, for a sampling that draws.
      rows: [B] int, the numbers of the rows, such as their places in a file that is read in batches; 0 to B - 1
        where None.
      constrain: sets logits to -inf, as `Constrain` says.
      pad: the token that follows an end.

    Returns:
      The continuations.

    Raises:
      Refused: an argument cannot be, or the sampling draws and there is no `rng`.
    """
    prompt, lengths = checked_prompt(state, prompt, prompt_lengths, max_new_tokens=max_new_tokens, pad=pad)
    rules = Rules(sampling=sampling, constrain=constrain, end=end, pad=pad)
    draw = checked_draw(rng, rows, batch=prompt.shape[0])
    progress = started(advance, state, prompt, lengths, draw, rules=rules, max_new_tokens=max_new_tokens)
    return proceeded(advance, progress, draw, max_new_tokens, rules=rules).generated


@dataclass(frozen=True)
class Rules:
    """How tokens are chosen, and when that is over: all that is fixed when the loop is compiled."""

    sampling: Sampling
    constrain: Constrain | None
    end: tuple[int, ...]
    pad: int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Draw:
    """Where chance comes from: a key, which greedy decoding does not need, and the numbers of the rows [B]."""

    rng: PRNGKeyArray | None
    rows: Int[Array, " B"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Progress:
    """What the loop carries: `step` tokens of each row that goes on are chosen, the last not yet advanced over.

    `seen` [B, V] are the tokens of prompt and continuation, None for a sampling without repetition penalty.
    """

    step: Int[Array, ""]
    state: State
    generated: Generated
    going: Bool[Array, " B"]
    seen: Bool[Array, "B V"] | None


def checked_draw(rng: PRNGKeyArray | None, rows: Int[Array, " B"] | None, *, batch: int) -> Draw:
    """Returns where chance comes from.

    Raises:
      Refused: `rows` is not one number for each row.
    """
    rows = whole_numbers(jnp.arange(batch) if rows is None else rows, owner="rows")
    if rows.shape != (batch,):
        raise Refused(f"rows have shape {rows.shape}: give a number for each of the {batch} prompts.")
    return Draw(rng=rng, rows=rows)


def started(
    advance: Advance,
    state: State,
    prompt: Int[Array, "B P"],
    lengths: Int[Array, " B"],
    draw: Draw,
    *,
    rules: Rules,
    max_new_tokens: int,
) -> Progress:
    """Advances over the prompts, and chooses the first token of each row."""
    batch, width = prompt.shape
    logits, state = advance(state, prompt, lengths.astype(jnp.int32))
    check_logits(logits, batch=batch, end=rules.end)
    seen = None
    if rules.sampling.penalises:
        real = jnp.arange(width) < lengths[:, None]
        seen = jnp.zeros(logits.shape, bool).at[jnp.arange(batch)[:, None], prompt].max(real)
    nothing = Generated(
        tokens=jnp.full((batch, max_new_tokens), rules.pad, jnp.int32),
        lengths=jnp.zeros(batch, jnp.int32),
        log_probabilities=jnp.zeros((batch, max_new_tokens), jnp.float32),
        ended=jnp.zeros(batch, bool),
    )
    progress = Progress(step=jnp.int32(0), state=state, generated=nothing, going=jnp.ones(batch, bool), seen=seen)
    return _chosen(logits, progress, draw, rules)


def proceeded(
    advance: Advance, progress: Progress, draw: Draw, until: int | Int[Array, ""], *, rules: Rules
) -> Progress:
    """Goes on until `until` tokens are chosen in all, or no row goes on."""
    advance = laid_out(advance)

    def goes_on(progress: Progress) -> Bool[Array, ""]:
        return (progress.step < until) & progress.going.any()

    def one_more(progress: Progress) -> Progress:
        last = jax.lax.dynamic_slice_in_dim(progress.generated.tokens, progress.step - 1, 1, axis=1)
        logits, state = advance(progress.state, last, progress.going.astype(jnp.int32))
        return _chosen(logits, replace(progress, state=state), draw, rules)

    return jax.lax.while_loop(goes_on, one_more, progress)


def _chosen(logits: Float[Array, "B V"], progress: Progress, draw: Draw, rules: Rules) -> Progress:
    """Chooses a token for each row that goes on, and writes down what it was."""
    made, going, seen, step = progress.generated, progress.going, progress.seen, progress.step
    logits = logits.astype(jnp.float32)
    offered = logits if seen is None else rules.sampling.penalised(logits, seen)
    if rules.constrain is not None:
        offered = rules.constrain(made.tokens, made.lengths, offered)
    token = rules.sampling.choose(offered, rng=draw.rng, rows=draw.rows, step=step)
    rows = jnp.arange(token.shape[0])
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    # -inf where no token is possible, for then each is -inf; NaN where one is, for then there is no token to look up.
    possible = offered.at[rows, token].get(mode="fill", fill_value=jnp.nan) - normaliser
    chosen = going & jnp.isfinite(possible)
    log_probability = jnp.where(chosen, logits[rows, token] - normaliser, possible)
    ended = chosen & (token[:, None] == jnp.asarray(rules.end, jnp.int32)).any(-1)
    generated = Generated(
        tokens=made.tokens.at[:, step].set(jnp.where(chosen, token, rules.pad)),
        lengths=made.lengths + chosen,
        log_probabilities=made.log_probabilities.at[:, step].set(jnp.where(going, log_probability, 0.0)),
        ended=made.ended | ended,
    )
    return Progress(
        step=step + 1,
        state=progress.state,
        generated=generated,
        going=chosen & ~ended,
        seen=None if seen is None else seen.at[rows, token].max(chosen),
    )
