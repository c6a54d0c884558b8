"""Pointer networks: Vinyals, Fortunato & Jaitly 2015, section 2.3. A decoder's output is a place of its source.

e_j are the states of a recurrent encoder over the items, d_t those of a decoder that goes on where it ends and reads
the item pointed at before; p(place_t = j) = softmax_j(v^T tanh(W_1 e_j + W_2 d_t)), equation 3. Place 0 is no item: it
ends a target, and has a learned e_0, and a learned vector begins the decoder.
"""

from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels import Padding
from attention_jax.kernels.steps import Fixed
from attention_jax.layers import Recurrent, RecurrentOptions, TokenEmbedding, aligned, recurrent
from attention_jax.layers.aligned import Aligned
from attention_jax.layers.padding import is_real, lengths_of
from attention_jax.layers.product import product
from attention_jax.layers.recurrent import Carry
from attention_jax.models.catalogue import register

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    *recurrent.PARAMETER_RULES,
    *aligned.PARAMETER_RULES,
    ("item/embedding", (None, "fsdp")),
    ("item/(kernel|bias)", ()),
    ("(first|last)", ()),
)


@register("pointer_network")
class PointerNetwork(nn.Module, kw_only=True):
    """Points at one place of the source after another.

    Attributes:
      vocabulary_size: V, of items that are tokens, a fact of the data; 0 where they are points.
      target_length: the most places of a target, its end among them, a fact of the data.
      begin: the place before the first of a target, a fact of the data: 0.
      end: the place after its last, a fact of the data: 0.
      width: of an item's vector.
      encoder: the options of the layers over items.
      decoder: of those over places, whose width is that of a token of the encoder, in both directions together.
      pointer: the spec of the attention variant whose logits these are.
      dropout_rate: of the vectors of items.
    """

    vocabulary_size: int
    target_length: int
    begin: int
    end: int
    width: int = 128
    encoder: RecurrentOptions = RecurrentOptions(width=256)
    decoder: RecurrentOptions = RecurrentOptions(width=256)
    pointer: str = "pointer"
    dropout_rate: float = 0.0

    reads: ClassVar[tuple[str, ...]] = ("inputs",)
    may_read: ClassVar[tuple[str, ...]] = ("source", "points", "source_lengths", "target_lengths")
    parameter_rules = PARAMETER_RULES

    def setup(self) -> None:
        """Makes the layers.

        Raises:
          Refused: the decoder cannot go on where the encoder ends, or has two directions.
        """
        wanted = {"width": self.encoder.out_width, "num_layers": self.encoder.num_layers, "cell": self.encoder.cell}
        for name, value in wanted.items():
            if getattr(self.decoder, name) != value:
                raise Refused(
                    f"model.decoder.{name}={getattr(self.decoder, name)!r} does not go on where the encoder ends: use "
                    f"{value!r}."
                )
        if self.decoder.bidirectional:
            raise Refused("model.decoder.bidirectional=True would read places that are not chosen yet: leave it out.")
        init = nn.initializers.normal(self.width**-0.5)
        of_tokens = partial(TokenEmbedding, self.vocabulary_size, embedding_init=init)
        of_points = partial(nn.Dense, dot_general=product)
        self.item: nn.Module = (of_tokens if self.vocabulary_size else of_points)(features=self.width)
        self.first = self.param("first", init, (self.width,))
        self.last = self.param("last", init, (self.encoder.out_width,))
        self.encode, self.decode, self.point = Recurrent(self.encoder), Recurrent(self.decoder), Aligned(self.pointer)
        self.dropout = nn.Dropout(self.dropout_rate)

    def __call__(
        self,
        inputs: Int[Array, "B T"],
        *,
        source: Int[Array, "B S"] | None = None,
        points: Float[Array, "B S F"] | None = None,
        source_lengths: Int[Array, " B"] | None = None,
        target_lengths: Int[Array, " B"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B T P"]:
        """Returns the logits of each next place, float32 [B, T, 1 + S], the lowest there is at padding.

        Args:
          inputs: [B, T], the places pointed at before, from 0 to S; the first of them is `begin`.
          source: [B, S], items that are tokens, each smaller than V.
          points: [B, S, F], or items that are points.
          source_lengths: [B], how many items, from the first, are real; None: all are.
          target_lengths: [B], the same of the inputs.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: there are no items of the kind that the data has said there are, or the variant gives no logits.
        """
        items, memory, carries, lengths = self._read(source, points, source_lengths, deterministic=deterministic)
        ran = self.decode(_taken(items, inputs), lengths=target_lengths, carries=carries, deterministic=deterministic)
        return self._pointed(ran.outputs, memory, lengths)

    def start(
        self,
        source: Int[Array, "B S"] | None = None,
        *,
        points: Float[Array, "B S F"] | None = None,
        source_lengths: Int[Array, " B"] | None = None,
    ) -> Any:
        """Returns the decode state before the first place: see `advance`; arguments as of a call."""
        items, memory, carries, lengths = self._read(source, points, source_lengths, deterministic=True)
        return {"read": Fixed((items, memory, lengths)), "carries": carries}

    def advance(
        self, state: Any, tokens: Int[Array, "b T"], lengths: Int[Array, " b"]
    ) -> tuple[Float[Array, "b P"], Any]:
        """Returns the logits of the place after the last new one, float32 [b, 1 + S], and the decode state after it.

        Args:
          state: what the places before left; at first what `start` returns.
          tokens: [b, T], the new places.
          lengths: [b], how many of them, from the first, each sequence has.
        """
        items, memory, source_lengths = state["read"].held
        continuations = len(tokens) // len(items)
        taken = _taken(items, tokens.reshape(len(items), -1)).reshape(*tokens.shape, -1)
        ran = self.decode(taken, lengths=lengths, carries=state["carries"])
        hidden = ran.carries[-1][0].reshape(len(items), continuations, -1)
        logits = self._pointed(hidden, memory, source_lengths)
        return logits.reshape(len(tokens), -1), {**state, "carries": ran.carries}

    def _read(
        self, source: Array | None, points: Array | None, lengths: Array | None, *, deterministic: bool
    ) -> tuple[Float[Array, "B P D"], Float[Array, "B P E"], tuple[Carry, ...], Int[Array, " B"]]:
        """Returns the vector of each place, its encoding, what the decoder begins with and how many items there are."""
        kind, given = ("source", source) if self.vocabulary_size else ("points", points)
        if given is None:
            raise Refused(f"model pointer_network reads {kind!r} of this data, and it is not in the batch: give it.")
        items = self.dropout(self.item(given), deterministic=deterministic)
        ran = self.encode(items, lengths=lengths, deterministic=deterministic)
        memory = _after(self.last, ran.outputs)
        carries = ran.joined(1 + self.encoder.bidirectional)
        return _after(self.first, items), memory, carries, lengths_of(given, lengths)

    def _pointed(
        self, hidden: Float[Array, "B T W"], memory: Float[Array, "B P E"], lengths: Int[Array, " B"]
    ) -> Float[Array, "B T P"]:
        """Returns the logits of the places; place 0 is always there."""
        found = self.point(hidden, memory, mask=Padding(lengths + 1), outputs=("logits",))
        assert found.logits is not None
        real = is_real(memory.shape[1], lengths + 1)[:, None]
        return jnp.where(real, found.logits[:, 0].astype(jnp.float32), jnp.finfo(jnp.float32).min)


def _after(vector: Float[Array, " D"], rows: Float[Array, "B S D"]) -> Float[Array, "B P D"]:
    """Returns rows with one vector before the first of each."""
    one = jnp.broadcast_to(vector.astype(rows.dtype), (len(rows), 1, rows.shape[-1]))
    return jnp.concatenate([one, rows], axis=1)


def _taken(items: Float[Array, "B P D"], places: Int[Array, "B T"]) -> Float[Array, "B T D"]:
    return jnp.take_along_axis(items, places[..., None], axis=1)
