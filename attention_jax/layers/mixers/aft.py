"""An attention-free transformer: each channel is weighed by its own keys and by learned biases of places. Zhai 2021.

y_i = sigmoid(q_i) * sum_j exp(k_j + w_ij) * v_j / sum_j exp(k_j + w_ij), all by channel: equation 2. AFT-full learns
w_ij = u_i . v_j for each pair of places, AFT-local has 0 in its place where |i - j| >= window (equation 3), and
AFT-simple has w = 0 (equation 4).

It is attention with a head for each channel, whose logit is k_jc + w_ij, and is computed as such: any mask is exact,
and no exponential overflows. The paper's products of exp(w) with exp(k) v need less work, and overflow.
"""

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.source import Source
from attention_jax.layers.attention import Mixed, Seen
from attention_jax.layers.heads import attend_cached_heads, attend_heads, mask_of_layer, out_projection, projection
from attention_jax.layers.mixer import MakeMixer, MixerClaims, register_mixer
from attention_jax.layers.stack_options import StackOptions

Form = Literal["full", "local", "simple"]
# The logits are the keys: there is no scale, and each query is 1.
VARIANT = "scaled_dot:scale=1"


class AttentionFree(nn.Module):
    """Attention without queries, by channel.

    Attributes:
      options: of the stack.
      layer: the number of the layer, from 1.
      form: of the biases of places.
      window: where those of "local" reach.
      factors: the width of u and v; None: there is a number for each pair of places.
    """

    options: StackOptions
    layer: int = 1
    form: Form = "full"
    window: int = 32
    factors: int | None = 128

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "B T D"], seen: Seen, *, state: Any = None, deterministic: bool = True
    ) -> Mixed:
        """Returns what each token gathers, [B, T, D]: see `Attention`.

        Raises:
          Refused: there are more tokens than places.
        """
        options, width = self.options, inputs.shape[-1]
        # A channel is a head of width 1.
        gate, key, value = (projection(options, name, (width, 1))(inputs) for name in ("query", "key", "value"))
        query, mask = jnp.ones_like(key), mask_of_layer(options, self.layer, seen.mask)
        capacity = inputs.shape[1] if state is None else state.capacity
        arguments = {"variant": VARIANT, "mask": mask, "score_mod": self._score_mod(capacity)}
        if state is None:
            arguments["positions"] = seen.positions
            result = attend_heads(self, options, query, key, value, deterministic=deterministic, **arguments)
        else:
            result, state = attend_cached_heads(options, query, key, value, state, lengths=seen.lengths, **arguments)
        return Mixed(out_projection(options, width)(jax.nn.sigmoid(gate) * result.out), state)

    def _score_mod(self, places: int) -> Any:
        """(logit, sequence, head, query position, key position) -> the logit with the bias of the pair."""
        if self.form == "simple":
            return None
        init = nn.initializers.normal(0.01)
        if self.factors is None:
            biases = self._of_places("mixer_places", init, (places, places))
        else:
            of_query = self._of_places("mixer_query_places", init, (places, self.factors))
            biases = of_query @ self._of_places("mixer_key_places", init, (places, self.factors)).T

        def score_mod(score: Array, sequence: Array, head: Array, query: Array, key: Array) -> Array:
            bias = biases[query, key].astype(score.dtype)
            return score + (jnp.where(jnp.abs(query - key) < self.window, bias, 0) if self.form == "local" else bias)

        return score_mod

    def _of_places(self, name: str, init: Any, shape: tuple[int, ...]) -> Array:
        """An array with a row for each place, which may be for more places than these."""
        if self.is_initializing():
            self.param(name, init, shape, jnp.float32)
        array: Array = self.get_variable("params", name)
        if len(array) < shape[0]:
            raise Refused(
                f"aft has biases of {len(array)} places, and there are {shape[0]} tokens: shorten the input, or use "
                "aft:form=simple, which has none."
            )
        return array


@register_mixer(
    source=Source(
        "An Attention Free Transformer",
        "equations 2 to 4",
        authors="Zhai, Shuangfei and Talbott, Walter and Srivastava, Nitish and Huang, Chen and Goh, Hanlin and "
        "Zhang, Ruixiang and Susskind, Josh",
        year=2021,
        arxiv="2105.14103",
    ),
    claims=MixerClaims(
        options=("attention_dropout_rate", "engine", "window"),
        tried="aft:form=local,window=3,factors=4",
    ),
    aliases=("attention_free",),
)
def aft(*, form: Form = "full", window: int = 32, factors: int | None = 128) -> MakeMixer:
    """Each channel weighed by its own keys and by learned biases of pairs of places, and gated by its query.

    There are no heads. The biases are for as many places as the model had tokens when it was made.

    Args:
      form: "full"; "local", whose biases are 0 between places that are `window` or more apart; or "simple", without.
      window: of "local".
      factors: the biases are the products of vectors of this width; None: each is learned by itself.

    Raises:
      Refused: window or factors is smaller than 1.
    """
    for name, size in (("window", window), ("factors", factors)):
        if size is not None and size < 1:
            raise Refused(f"aft has {name}={size}: give at least 1.")
    return partial(AttentionFree, form=form, window=window, factors=factors)
