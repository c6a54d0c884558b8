"""Multi-head attention of any variant between linear projections: Vaswani et al. 2017, section 3.2.2."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels import Mask, Sizes, init, lookup
from attention_jax.kernels.arrays import Params, shape_of
from attention_jax.layers.defaults import Initializer, normal
from attention_jax.layers.product import product
from attention_jax.layers.spread import spread_attend


def require_causal(variant: str, *, owner: str, approximate: bool = False) -> None:
    """Checks that a variant can be trained to predict the next token.

    Args:
      variant: its spec.
      owner: what needs it, for the message.
      approximate: accept one whose choice of what to attend to can leak the future.

    Raises:
      Refused: it has no causal form, or one that can leak and `approximate` is False.
    """
    causal = lookup(variant).claims.causal
    if causal == "no":
        raise Refused(f"{owner} predicts the next token, and {variant} has no causal form. Use variant scaled_dot.")
    if causal == "approximate" and not approximate:
        raise Refused(
            f"{owner} predicts the next token, and {variant} can leak it: its choice of keys depends on the future. "
            "Use a strictly causal variant, or set approximate_causal=True to accept the leak."
        )


class Attention(nn.Module):
    """Projects to heads, attends with any variant, projects back.

    Its projections are those of Flax's own MultiHeadDotProductAttention: query, key and value kernels [D, N, H], out
    [N, H, D]. The variant's own arrays are named "variant_..."; those that are drawn and not trained are in the
    collection "buffers". What the variant takes of each token beside query, key and value is a projection of its own,
    named "input_...", to [B, T, K] or [B, T, K, H].

    Attributes:
      variant: the spec of the attention variant.
      num_heads: N.
      num_kv_heads: K, a divisor of N; None is N.
      use_bias: whether the projections have biases.
      dropout_rate: dropout of the attention weights.
      engine: an engine by name; None takes the fastest that qualifies.
      layer: the number of the layer, from 1, for a variant that starts differently in each.
      kernel_init: draws the projections to heads.
      out_init: draws the projection back.
      dtype: what it computes in.
    """

    variant: str
    num_heads: int
    num_kv_heads: int | None = None
    use_bias: bool = True
    dropout_rate: float = 0.0
    engine: str | None = None
    layer: int = 1
    kernel_init: Initializer = normal()
    out_init: Initializer = normal()
    dtype: jnp.dtype = jnp.dtype(jnp.float32)

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "B T D"],
        *,
        mask: Mask | None = None,
        grid: tuple[int, int] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B T D"]:
        """Returns what each token gathers from those it sees, [B, T, D].

        Args:
          inputs: [B, T, D].
          mask: who may see whom.
          grid: the rows and columns that the tokens lie in, row by row, for a variant that goes by them.
          deterministic: no dropout, and what is likeliest of a variant that draws; otherwise the rng "dropout" is used.

        Raises:
          Refused: the heads do not divide the width, or the variant cannot do what is asked.
        """
        width, kv_heads = inputs.shape[-1], self.num_kv_heads or self.num_heads
        if width % self.num_heads:
            raise Refused(
                f"{self.num_heads} heads do not divide the width {width}: give num_heads a divisor of it, such as "
                f"{_nearest_divisor(width, self.num_heads)}."
            )
        head_width = width // self.num_heads
        query = self._projection("query", (self.num_heads, head_width))(inputs)
        key = self._projection("key", (kv_heads, head_width))(inputs)
        value = self._projection("value", (kv_heads, head_width))(inputs)
        sizes = Sizes(
            self.num_heads,
            kv_heads,
            head_width,
            head_width,
            head_width,
            length=inputs.shape[1],
            grid=grid,
            layer=self.layer,
        )
        dropout_rate = 0.0 if deterministic else self.dropout_rate
        draws = not deterministic and lookup(self.variant).mechanism.draws
        attended = spread_attend()(
            query,
            key,
            value,
            variant=self.variant,
            params=self._params(sizes),
            mask=mask,
            per_token=self._per_token(inputs, sizes),
            dropout_rate=dropout_rate,
            rng=self.make_rng("dropout") if dropout_rate or draws else None,
            grid=grid,
            engine=self.engine,
        ).out
        out = self._projection("out", (width,), axis=(-2, -1), kernel_init=self.out_init)
        return out(attended)

    def _projection(self, name: str, shape: tuple[int, ...], **changes: Any) -> nn.DenseGeneral:
        options = {"use_bias": self.use_bias, "kernel_init": self.kernel_init, "dtype": self.dtype, **changes}
        return nn.DenseGeneral(shape, dot_general=product, name=name, **options)

    def _per_token(self, inputs: Array, sizes: Sizes) -> dict[str, Array]:
        return {
            name: self._projection(f"input_{name}", shape_of(one.axes, sizes, owner=name))(inputs)
            for name, one in lookup(self.variant).mechanism.per_token.items()
        }

    def _params(self, sizes: Sizes) -> Params:
        """The variant's own arrays, drawn all at once.

        One with a number for each place of a sequence may be longer than this one, which `self.param` would refuse.
        """
        if self.is_initializing():
            trained, drawn = init(self.variant, self.make_rng("params"), sizes)
            for name, array in trained.items():
                self.param(f"variant_{name}", lambda rng, array=array: array)
            for name, array in drawn.items():
                self.variable("buffers", f"variant_{name}", lambda array=array: array)
        return {
            name: self.get_variable("params" if one.trained else "buffers", f"variant_{name}")
            for name, one in lookup(self.variant).mechanism.arrays.items()
        }


def _nearest_divisor(width: int, wanted: int) -> int:
    return min((d for d in range(1, width + 1) if width % d == 0), key=lambda d: abs(d - wanted))
