"""Moving average equipped gated attention: one head over tokens that a moving average has smoothed. Ma et al. 2022.

h_t = alpha * beta x_t + (1 - alpha * delta) * h_{t-1} and x'_t = <eta, h_t>, by channel, with `average` numbers h for
each: equations 4 to 6. Z = silu(X' W_z), Q and K are Z scaled and shifted, V = silu(X W_v), and
O = softmax(QK^T / sqrt(z)) V: equations 7 to 11. With the gates gamma = silu(X' W_g) and phi = sigmoid(X' W_u),
Y = phi * silu(X' W_h + (gamma * O) U_h) + (1 - phi) * X: equations 12 to 16.

A block adds its input, so that the mixer returns Y - X; norm_position="post" then is the paper's block.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels import KeyValueCache, Mask, Padding, Segments
from attention_jax.kernels.mask_algebra import conjunction, terms
from attention_jax.kernels.mechanism import statistics_dtype
from attention_jax.kernels.source import Source
from attention_jax.kernels.steps import Fresh
from attention_jax.layers.attention import Mixed, Seen
from attention_jax.layers.heads import attend_cached_heads, attend_heads, positions_of, projection, turned
from attention_jax.layers.mixer import MakeMixer, MixerClaims, register_mixer
from attention_jax.layers.stack_options import StackOptions


class MegaState(NamedTuple):
    """What is kept of the tokens so far.

    Attributes:
      average: [B, D, h].
      cache: of keys and values.
    """

    average: Float[Array, "B D h"]
    cache: KeyValueCache | Fresh


class MovingAverageGated(nn.Module):
    """Gated attention with one head over a moving average.

    Attributes:
      options: of the stack.
      layer: the number of the layer, from 1.
      average: h.
      shared: z, the width of queries and keys.
      values: the width of V; None is 2 D.
      chunk: tokens see those of their own chunk of so many tokens; None: all.
    """

    options: StackOptions
    layer: int = 1
    average: int = 16
    shared: int = 64
    values: int | None = None
    chunk: int | None = None

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "B T D"], seen: Seen, *, state: Any = None, deterministic: bool = True
    ) -> Mixed:
        """Returns what each token gathers, [B, T, D]: see `Attention`."""
        options, (batch, tokens, width) = self.options, inputs.shape
        values = self.values or 2 * width
        before = jnp.zeros((batch, width, self.average), statistics_dtype(inputs.dtype))
        before = state.average if isinstance(state, MegaState) else before
        smooth, average = self._smoothed(inputs, _real(seen, inputs), before)

        def made(name: str, of: Array, size: int) -> Array:
            biased_as = "value" if name == "value" else "query"
            return projection(options, f"{name}_channels", (size,), biased_as=biased_as)(of)

        query, key = self._query_and_key(jax.nn.silu(made("shared", smooth, self.shared)), seen)
        value = jax.nn.silu(made("value", inputs, values))[:, :, None]
        if state is None:
            mask = conjunction(seen.mask, self._chunks(seen, tokens, tokens))
            out = attend_heads(self, options, query, key, value, mask=mask, deterministic=deterministic).out
        else:
            cache = state.cache if isinstance(state, MegaState) else state
            mask = conjunction(seen.mask, self._chunks(seen, tokens, cache.capacity))
            result, cache = attend_cached_heads(options, query, key, value, cache, mask=mask, lengths=seen.lengths)
            out, state = result.out, MegaState(average, cache)
        reset, update = jax.nn.silu(made("reset", smooth, values)), jax.nn.sigmoid(made("update", smooth, width))
        of_attention = projection(options, "gathered_channels", (width,), use_bias=False)(reset * out[:, :, 0])
        candidate = jax.nn.silu(made("candidate", smooth, width) + of_attention)
        return Mixed(update * (candidate - inputs), state)

    def _smoothed(self, inputs: Array, real: Bool[Array, "B T"], before: Array) -> tuple[Array, Float[Array, "B D h"]]:
        """The moving average of the real tokens, [B, T, D], and what is kept after them."""
        shape, dtype = (inputs.shape[-1], self.average), before.dtype

        def drawn(name: str, stddev: float, mean: Any = 0.0) -> Array:
            def init(rng: Array) -> Array:
                return mean + stddev * jax.random.normal(rng, shape, jnp.float32)

            return self.param(f"mixer_{name}", init).astype(dtype)

        # As in the authors' code: signs of beta take turns.
        signs = jnp.where(jnp.arange(self.average) % 2 == 0, 1.0, -1.0)[None]
        alpha, delta = jax.nn.sigmoid(drawn("alpha", 0.2)), jax.nn.sigmoid(drawn("delta", 0.2))
        into, kept, eta = alpha * drawn("beta", 0.02, signs), 1 - alpha * delta, drawn("eta", 1.0)

        def step(average: Array, token: tuple[Array, Array]) -> tuple[Array, Array]:
            hidden, is_real = token
            after = into * hidden[:, :, None] + kept * average
            average = jnp.where(is_real[:, None, None], after, average)
            return average, jnp.sum(eta * average, axis=-1)

        clean = jnp.where(real[..., None], inputs, 0).astype(dtype)
        average, smooth = jax.lax.scan(step, before, (clean.swapaxes(0, 1), real.T))
        return smooth.swapaxes(0, 1).astype(inputs.dtype), average

    def _query_and_key(self, shared: Float[Array, "B T z"], seen: Seen) -> tuple[Array, Array]:
        scales = self.param("mixer_scales", nn.initializers.normal(0.02), (2, self.shared), jnp.float32)
        shifts = self.param("mixer_shifts", nn.initializers.zeros, (2, self.shared), jnp.float32)
        encoding = self.options.encoding_of(self.layer)
        positions = positions_of(seen.positions, shared.shape[1])
        both = [shared * scales[n].astype(shared.dtype) + shifts[n].astype(shared.dtype) for n in (0, 1)]
        heads = [one[:, :, None] if encoding is None else turned(encoding, one[:, :, None], positions) for one in both]
        return heads[0], heads[1]

    def _chunks(self, seen: Seen, queries: int, keys: int) -> Mask | None:
        if self.chunk is None:
            return None
        places = jnp.arange(keys, dtype=jnp.int32)[None] // self.chunk
        return Segments(positions_of(seen.positions, queries) // self.chunk, places)


def _real(seen: Seen, inputs: Array) -> Bool[Array, "B T"]:
    """Which tokens there are."""
    batch, tokens, _ = inputs.shape
    place = jnp.arange(tokens)
    real = jnp.ones((batch, tokens), bool)
    for padding in (term for term in terms(seen.mask) if isinstance(term, Padding)):
        real &= padding.valid(place)
    return real if seen.lengths is None else real & (place[None] < seen.lengths[:, None])


@register_mixer(
    source=Source(
        "Mega: Moving Average Equipped Gated Attention",
        "equations 4 to 16",
        authors="Ma, Xuezhe and Zhou, Chunting and Kong, Xiang and He, Junxian and Gui, Liangke and Neubig, Graham and "
        "May, Jonathan and Zettlemoyer, Luke",
        year=2022,
        venue="ICLR 2023",
        arxiv="2209.10655",
    ),
    claims=MixerClaims(
        masks=("Causal", "Padding"),
        options=("attention_dropout_rate", "engine"),
        positions=("rope",),
        tried="mega:average=3,shared=4,values=6,chunk=4",
    ),
)
def mega(*, average: int = 16, shared: int = 64, values: int | None = None, chunk: int | None = None) -> MakeMixer:
    """Gated attention with one head, over tokens that a moving average of those before them has smoothed.

    Where tokens may look ahead the average still goes forward alone; the paper's encoders have a second one backward.

    Args:
      average: how many numbers the moving average keeps of each channel.
      shared: the width of queries and keys.
      values: the width of the values; None is twice that of a token.
      chunk: tokens see those of their own chunk of so many tokens; None: all.

    Raises:
      Refused: a size is smaller than 1.
    """
    for name, size in (("average", average), ("shared", shared), ("values", values), ("chunk", chunk)):
        if size is not None and size < 1:
            raise Refused(f"mega has {name}={size}: give at least 1.")
    return partial(MovingAverageGated, average=average, shared=shared, values=values, chunk=chunk)
