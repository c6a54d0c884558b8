"""Which token comes next: the most probable one, or one that is drawn from the probable ones."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from attention_jax.base.errors import Refused


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn. What is set is applied in the order of Hugging Face transformers.

    The order is: repetition penalty, the caller's constraint, temperature, top-k, top-p, min-p. Each of the last three
    sees the distribution that the one before it left, renormalised. Tokens that tie with the last one kept are kept.

    Attributes:
      temperature: what logits are divided by; 0 takes the most probable token, the first of equals.
      top_k: how many of the most probable tokens are kept (Fan et al. 2018, section 5); None for all.
      top_p: the smallest set of most probable tokens whose probabilities reach this sum is kept (nucleus, Holtzman et
        al. 2019, section 3.1), 1 for all.
      min_p: tokens less probable than this share of the most probable one are left out (Nguyen et al. 2024).
      repetition_penalty: the logits of tokens that the prompt or the continuation holds already are divided by it where
        they are positive, and multiplied where negative (CTRL, Keskar et al. 2019, section 4.1); 1 for none.

    Raises:
      Refused: a value is out of its bounds.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        # Each is written so that NaN fails it.
        rules = (
            ("temperature", 0 <= self.temperature < float("inf"), "0 (the most probable token) or more"),
            ("top_k", self.top_k is None or self.top_k >= 1, "1 or more, or None for all tokens"),
            ("top_p", 0 < self.top_p <= 1, "more than 0, and 1 at most"),
            ("min_p", 0 <= self.min_p <= 1, "0 to 1"),
            ("repetition_penalty", 0 < self.repetition_penalty < float("inf"), "more than 0; 1 is no penalty"),
        )
        for name, holds, way_out in rules:
            if not holds:
                raise Refused(f"{name}={getattr(self, name)}: give {way_out}.")

    @property
    def penalises(self) -> bool:
        """Whether the tokens so far count."""
        return self.repetition_penalty != 1

    def penalised(self, logits: Float[Array, "B V"], seen: Bool[Array, "B V"]) -> Float[Array, "B V"]:
        """Returns the logits with those of the tokens seen made smaller, or larger for a penalty below 1."""
        penalty = self.repetition_penalty
        return jnp.where(seen, jnp.where(logits < 0, logits * penalty, logits / penalty), logits)

    def kept(self, logits: Float[Array, "B V"]) -> Float[Array, "B V"]:
        """Returns the logits over the temperature, which is not 0, with -inf for the tokens that are left out."""
        logits = logits / self.temperature
        if self.top_k is not None:
            # The smallest of them by `min`: XLA sorts the whole vocabulary where the last one is sliced off.
            most_probable, _ = jax.lax.top_k(logits, min(self.top_k, logits.shape[-1]))
            logits = _at_least(most_probable.min(-1, keepdims=True), logits)
        if self.top_p < 1:
            logits = _nucleus(logits, self.top_p)
        if self.min_p > 0:
            logits = _at_least(logits.max(-1, keepdims=True) + jnp.log(self.min_p), logits)
        return logits

    def choose(
        self, logits: Float[Array, "B V"], *, rng: PRNGKeyArray | None, rows: Int[Array, " B"], step: Int[Array, ""]
    ) -> Int[Array, " B"]:
        """Returns a token for each row, V where logits are NaN; pure in (rng, the row's number, step, its logits).

        Raises:
          Refused: the temperature is not 0, and there is no key.
        """
        if self.temperature == 0:
            return _first_of_the_largest(logits)
        if rng is None:
            raise Refused(f"temperature={self.temperature} draws tokens: give rng, or temperature 0.")
        key = rng

        def noise(row: Int[Array, ""]) -> Float[Array, " V"]:
            return jax.random.gumbel(jax.random.fold_in(jax.random.fold_in(key, row), step), logits.shape[1:])

        # The largest of logits with Gumbel noise is distributed as their softmax (Maddison et al. 2014).
        return _first_of_the_largest(self.kept(logits) + jax.vmap(noise)(rows))


GREEDY = Sampling(temperature=0.0)


def _at_least(threshold: Float[Array, "B 1"], logits: Float[Array, "B V"]) -> Float[Array, "B V"]:
    # NaN is not less, and stays to be seen.
    return jnp.where(logits < threshold, -jnp.inf, logits)


def _nucleus(logits: Float[Array, "B V"], top_p: float) -> Float[Array, "B V"]:
    """Returns the logits with -inf for the tokens outside of the smallest set that reaches top_p.

    Not sorted, which takes 20 times as long on a CPU: the least probability in the set is found by halving. The bits of
    floats that are not negative, read as whole numbers, are in the order of the floats.
    """
    probable = jax.nn.softmax(logits)
    bits = jax.lax.bitcast_convert_type(probable, jnp.int32)

    def halved(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        reaches, misses = bounds
        middle = reaches + (misses - reaches) // 2
        enough = jnp.where(bits >= middle, probable, 0).sum(-1, keepdims=True) >= top_p
        return jnp.where(enough, middle, reaches), jnp.where(enough, misses, middle)

    above_one = jax.lax.bitcast_convert_type(jnp.float32(1.0), jnp.int32) + 1
    none = jnp.zeros((logits.shape[0], 1), jnp.int32)
    least, _ = jax.lax.fori_loop(0, 31, halved, (none, none + above_one))
    return jnp.where(probable < jax.lax.bitcast_convert_type(least, jnp.float32), -jnp.inf, logits)


def _first_of_the_largest(values: Float[Array, "B V"]) -> Int[Array, " B"]:
    """Returns what argmax does, in an eighth of its time on a CPU; V where a value is NaN."""
    places = jax.lax.broadcasted_iota(jnp.int32, values.shape, 1)
    return jnp.where(values == values.max(-1, keepdims=True), places, values.shape[1]).min(-1)
