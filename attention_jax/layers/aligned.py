"""Attention of any variant between vectors as they are: what recurrent systems call an alignment."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.kernels import AttentionOutput, Mask, Sizes, attend, lookup
from attention_jax.kernels.mask_algebra import conjunction
from attention_jax.layers.attention import LOOKED_AT
from attention_jax.layers.memory import by_continuation, of_real
from attention_jax.layers.owned import owned_arrays

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = ((r"(.*/)?aligned_\w+", ()),)


class Aligned(nn.Module):
    """One head of any variant, without projections but those that the variant has: its arrays are named "aligned_...".

    Where the caller makes that collection mutable, `LOOKED_AT` has the "weights" [B, 1, T, S].

    Attributes:
      variant: the spec of the attention variant.
    """

    variant: str

    @nn.compact
    def __call__(
        self,
        query: Float[Array, "b T Q"],
        key: Float[Array, "B S K"],
        value: Float[Array, "B S V"] | None = None,
        *,
        mask: Mask | None = None,
        state: Any = None,
        lengths: Int[Array, " b"] | None = None,
        outputs: Sequence[str] = ("out",),
        deterministic: bool = True,
    ) -> AttentionOutput:
        """Returns what `attend` does of one head: out [b, T, 1, V], weights and logits [b, 1, T, S].

        Args:
          query: [b, T, Q], b a multiple of B: several continuations of a sequence, one after the other, share theirs.
          key: [B, S, K].
          value: [B, S, V]; None is the keys.
          mask: which keys a query sees, the same for all continuations of a sequence.
          state: what the queries before left, of a variant that goes on from it.
          lengths: [b], how many of the T queries, from the first, are real; the others see nothing. None: all are.
          outputs: of `attend`.
          deterministic: what is likeliest of a variant that draws; otherwise the rng "dropout" is used.

        Raises:
          Refused: there is no such variant, or it cannot do what is asked.
        """
        mechanism, claims = lookup(self.variant).mechanism, lookup(self.variant).claims
        keys = key[:, :, None]
        values = keys if value is None else value[:, :, None]
        sizes = Sizes(1, 1, query.shape[-1], keys.shape[-1], values.shape[-1], length=key.shape[1])
        looked_at = self.is_mutable_collection(LOOKED_AT) and not self.is_initializing() and claims.weights
        arguments: dict[str, Any] = {
            "variant": self.variant,
            "params": owned_arrays(self, mechanism.arrays, sizes, name_of="aligned_{}".format),
            "rng": self.make_rng("dropout") if mechanism.draws and not deterministic else None,
            "outputs": tuple(dict.fromkeys((*outputs, *(["weights"] if looked_at else [])))),
        }

        def attended(of_continuation: tuple[Array, Array | None, Any]) -> AttentionOutput:
            query, lengths, state = of_continuation
            heads = query[:, :, None]
            rules = mask if lengths is None else conjunction(mask, of_real(lengths, heads, keys=keys.shape[1]))
            return attend(heads, keys, values, mask=rules, state=state, **arguments)

        result: AttentionOutput = by_continuation(attended, (query, lengths, state), len(query) // len(key))
        if looked_at:
            assert result.weights is not None
            self.sow(LOOKED_AT, "weights", result.weights.astype(jnp.float32))
        return result
