"""Embeddings of tokens and of positions, and the logits of the tokens that embeddings are tied to."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels import embed_positions
from attention_jax.kernels.arrays import Params, SequenceSizes, shape_of
from attention_jax.kernels.position import PREFIX, lookup_position
from attention_jax.kernels.specs import parse_spec
from attention_jax.layers.defaults import Initializer
from attention_jax.layers.owned import owned_arrays
from attention_jax.layers.product import product
from attention_jax.layers.spread import gathered
from attention_jax.layers.stack_options import StackOptions

# The collection in which decoding gives a table [V, D] a copy [D, V] (decoding/layout.py), and the name of both.
LAID_OUT = "laid_out"
TABLE = "embedding"


class TokenEmbedding(nn.Embed):
    """Flax's own `Embed`, whose table may lie in parts on several devices; tokens at one place are added up."""

    def setup(self) -> None:
        """Makes the table, [V, D]."""
        super().setup()
        self.embedding = gathered(self.embedding)

    def __call__(self, inputs: Int[Array, "B T *several"]) -> Float[Array, "B T D"]:
        """Returns the vector of each token, [B, T, D]; of [B, T, S] the sum of the S vectors of each place."""
        embedded = super().__call__(inputs)
        return embedded if inputs.ndim == 2 else jnp.sum(embedded, axis=2)

    def attend(self, query: Float[Array, "... D"]) -> Float[Array, "... V"]:
        """Returns the products with the vectors of all tokens, [..., V], from the copy [D, V] where there is one."""
        if not self.has_variable(LAID_OUT, TABLE):
            return super().attend(query)
        vectors, table = self.promote_dtype(query, self.get_variable(LAID_OUT, TABLE), dtype=self.dtype)
        assert vectors is not None
        assert table is not None
        return product(vectors, table, (((query.ndim - 1,), (0,)), ((), ())))


def token_embedding(options: StackOptions, vocabulary_size: int) -> TokenEmbedding:
    """Returns the table of the tokens of a stack."""
    return TokenEmbedding(
        vocabulary_size,
        options.embedding_width or options.width,
        embedding_init=options.embedding_init,
        dtype=options.compute_dtype,
    )


class PositionEmbedding(nn.Module):
    """Adds to each token what a position encoding of the embeddings makes of its position.

    Its arrays are named as the encoding names them, without "position_"; a learned table is an "embedding".

    Attributes:
      positions: the spec of the encoding; "learned" alone has a vector for each of `length` positions.
      length: how many positions there are.
      table_init: draws the trained arrays.
    """

    positions: str
    length: int
    table_init: Initializer

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "B T D"], *, positions: Int[Array, "B T"] | None = None
    ) -> Float[Array, "B T D"]:
        """Returns the inputs with their positions in them, [B, T, D].

        Args:
          inputs: [B, T, D].
          positions: where each token stands, [B, T]; by default 0, 1, 2 ... A learned encoding adds NaN to one that has
            no vector.

        Raises:
          Refused: there are more tokens than learned positions.
        """
        spec = self.positions
        if spec == "learned":
            spec = f"learned:length={self.length}"
            if inputs.shape[1] > self.length:
                raise Refused(
                    f"{inputs.shape[1]} tokens are more than the {self.length} positions of the model: shorten the "
                    "input, or use positions='sinusoidal', or 'rope', which have no end."
                )
        params = self._params(spec, inputs.shape[-1])
        return embed_positions(inputs, positions, position_encoding=spec, params=params)

    def _params(self, spec: str, width: int) -> Params:
        declared, sizes = lookup_position(spec).made.arrays, SequenceSizes(width)
        if parse_spec(spec, what="position", example="learned")[0] == "learned":
            # The vectors of positions start as those of tokens do.
            ((name, table),) = declared.items()
            shape = shape_of(table.axes, sizes, owner=name)
            return {name: gathered(self.param("embedding", self.table_init, shape, jnp.float32))}
        own = owned_arrays(self, declared, sizes, name_of=lambda name: name.removeprefix(PREFIX))
        return {name: gathered(array) for name, array in own.items()}


class Embedding(nn.Module):
    """Tokens to vectors with their positions in them, as the options of a stack say.

    Attributes:
      options: of the stack.
      vocabulary_size: V.
      length: how many learned positions there are.
      shared: a table of tokens that another embedding has too; None: this has one of its own.
    """

    options: StackOptions
    vocabulary_size: int
    length: int
    shared: TokenEmbedding | None = None

    def setup(self) -> None:
        """Makes the table of the tokens, and what its vectors pass through."""
        options = self.options
        self.token = self.shared or token_embedding(options, self.vocabulary_size)
        if options.embedded_positions is not None:
            self.position = PositionEmbedding(options.embedded_positions, self.length, options.embedding_init)
        if options.embedding_norm:
            self.embedding_norm = options.make_norm()
        if options.embedding_width is not None:
            self.widened = nn.Dense(options.width, kernel_init=options.kernel_init, dtype=options.compute_dtype)

    def __call__(
        self, tokens: Int[Array, "B T *several"], *, positions: Int[Array, "B T"] | None = None
    ) -> Float[Array, "B T D"]:
        """Returns the vectors of the tokens, [B, T, D].

        Args:
          tokens: [B, T], each smaller than V; or [B, T, S], where S tokens share a place and their vectors add up.
          positions: where each token stands, [B, T]; by default 0, 1, 2 ...

        Raises:
          Refused: there are more tokens than learned positions.
        """
        options = self.options
        hidden = self.token(tokens)
        if options.embedding_scale == "sqrt_width":
            hidden = hidden * jnp.asarray(options.width**0.5, hidden.dtype)
        if options.embedded_positions is not None:
            hidden = self.position(hidden, positions=positions)
        if options.embedding_norm:
            hidden = self.embedding_norm(hidden)
        return hidden if options.embedding_width is None else self.widened(hidden)

    def last_logits(self, hidden: Float[Array, "B T E"], lengths: Int[Array, " B"]) -> Float[Array, "B V"]:
        """Returns the logits of the token after the last of each row's first `lengths` tokens, float32 [B, V]."""
        last = jnp.maximum(lengths - 1, 0)[:, None, None]
        return self.logits(jnp.take_along_axis(hidden, last, axis=1))[:, 0]

    def logits(self, hidden: Float[Array, "B T E"]) -> Float[Array, "B T V"]:
        """Returns the logits of the tokens, float32 [B, T, V]: products with their vectors (Press & Wolf 2017).

        Args:
          hidden: [B, T, E], E the width of the token embeddings.
        """
        options = self.options
        logits = self.token.attend(hidden).astype(jnp.float32)
        if options.logit_scale == "inverse_sqrt_width":
            logits = logits * options.width**-0.5
        if options.logit_cap is not None:
            logits = options.logit_cap * jnp.tanh(logits / options.logit_cap)
        return logits
