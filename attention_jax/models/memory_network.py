"""End-to-end memory networks: Sukhbaatar et al. 2015. A question is answered from the sentences of a story, in hops.

u_1 = sum_j l_j * B q_j; p_i = softmax(u_k . m_i), m_i = sum_j l_j * A_k x_ij + T_A(i); o_k = sum_i p_i c_i, c_i the
same by C_k and T_C; u_{k+1} = u_k + o_k; a = softmax(W u_{K+1}) (sections 2.1, 2.2 and 4.1). Of the words of a sentence
of J, l_kj = (1 - j/J) - (k/D)(1 - 2j/J), which tells their order.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels import Padding
from attention_jax.layers import TokenEmbedding, aligned
from attention_jax.layers.aligned import Aligned
from attention_jax.layers.looked import Looked
from attention_jax.layers.padding import lengths_of
from attention_jax.layers.product import product
from attention_jax.models.catalogue import register

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    *aligned.PARAMETER_RULES,
    (r"words_\d+/embedding", (None, "fsdp")),
    (r"times_\d+", ()),
    (r"(between|answer)/kernel", ("fsdp",)),
)
TYINGS = ("adjacent", "layer_wise")
ENCODINGS = ("position", "bag")


@register("memory_network")
class MemoryNetwork(nn.Module, kw_only=True):
    """Gives the logits of the answer to a question about a story.

    Attributes:
      vocabulary_size: V, a fact of the data; token 0 stands beside words and is none.
      num_classes: a fact of the data.
      story_length: the most sentences of a story, a fact of the data.
      width: D.
      hops: K.
      tying: "adjacent": A_{k+1} = C_k, B = A_1 and W = C_K, so that answers are words; or "layer_wise": all hops have
        one A and one C, and u_{k+1} = H u_k + o_k.
      encoding: of a sentence's words: "position", or "bag", which has l = 1.
      temporal: whether T_A and T_C tell sentences by how many follow them.
      attention: the spec of the attention variant that a hop looks with.
      dropout_rate: of the vectors of sentences and of the question; the paper has none.
      init_stddev: of all parameters.
    """

    vocabulary_size: int
    num_classes: int
    story_length: int
    width: int = 50
    hops: int = 3
    tying: str = "adjacent"
    encoding: str = "position"
    temporal: bool = True
    attention: str = "dot"
    dropout_rate: float = 0.0
    init_stddev: float = 0.1

    reads: ClassVar[tuple[str, ...]] = ("story", "question")
    may_read: ClassVar[tuple[str, ...]] = ("story_lengths",)
    looks: ClassVar[tuple[Looked, ...]] = (Looked(r"hop_\d+", "Sentences of the story", "story", whole=True),)
    parameter_rules = PARAMETER_RULES

    @nn.compact
    def __call__(
        self,
        story: Int[Array, "B S L"],
        question: Int[Array, "B Q"],
        *,
        story_lengths: Int[Array, " B"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B C"]:
        """Returns the logits of the answers, float32 [B, C].

        Args:
          story: [B, S, L], the words of its sentences, each smaller than V, 0 where there is none.
          question: [B, Q], the same of the question.
          story_lengths: [B], how many sentences, from the first, are real; None: all are.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: an option has no such value, a story has more sentences than `story_length`, or answers are to be
            words and are not.
        """
        self._check(story.shape[1])
        lengths = lengths_of(story, story_lengths)
        init = nn.initializers.normal(self.init_stddev)
        adjacent, dropout = self.tying == "adjacent", nn.Dropout(self.dropout_rate, deterministic=deterministic)
        tables = [
            TokenEmbedding(self.vocabulary_size, self.width, embedding_init=init, name=f"words_{number}")
            for number in range(1 + (self.hops if adjacent else 2))
        ]
        memories = [
            dropout(self._encoded(table, story) + self._times(number, lengths, story.shape[1]))
            for number, table in enumerate(tables if adjacent else tables[:2])
        ]
        asked = dropout(self._encoded(tables[0 if adjacent else 2], question[:, None])[:, 0])
        between = (lambda vector: vector) if adjacent else self._linear("between", self.width)
        for hop in range(self.hops):
            key, value = memories[hop : hop + 2] if adjacent else memories
            look = Aligned(self.attention, name=f"hop_{hop + 1}")
            looked = look(asked[:, None], key, value, mask=Padding(lengths), deterministic=deterministic)
            asked = between(asked) + looked.out[:, 0, 0]
        logits = tables[-1].attend(asked) if adjacent else self._linear("answer", self.num_classes)(asked)
        return logits.astype(jnp.float32)

    def _linear(self, name: str, width: int) -> nn.Dense:
        init = nn.initializers.normal(self.init_stddev)
        return nn.Dense(width, use_bias=False, kernel_init=init, dot_general=product, name=name)

    def _encoded(self, table: TokenEmbedding, words: Int[Array, "B S L"]) -> Float[Array, "B S D"]:
        """Returns the vector of each sentence; 0 of one without words."""
        real = words > 0
        vectors = table(words.reshape(len(words), -1)).reshape(*words.shape, self.width)
        if self.encoding == "bag":
            return jnp.where(real[..., None], vectors, 0).sum(2)
        place = jnp.arange(1, words.shape[2] + 1)[:, None] / jnp.maximum(real.sum(-1), 1)[..., None, None]
        channel = jnp.arange(1, self.width + 1) / self.width
        shares = (1 - place) - channel * (1 - 2 * place)
        return jnp.where(real[..., None], shares * vectors, 0).sum(2)

    def _times(self, number: int, lengths: Int[Array, " B"], sentences: int) -> Float[Array, "B S D"] | float:
        """Returns what tells each sentence how many real ones follow it."""
        if not self.temporal:
            return 0.0
        init = nn.initializers.normal(self.init_stddev)
        times = self.param(f"times_{number}", init, (self.story_length, self.width))
        return times[jnp.maximum(lengths[:, None] - 1 - jnp.arange(sentences), 0)]

    def _check(self, sentences: int) -> None:
        for name, value, known in (("tying", self.tying, TYINGS), ("encoding", self.encoding, ENCODINGS)):
            if value not in known:
                raise Refused(f"model.{name}={value!r} is none of {', '.join(known)}.{did_you_mean(value, known)}")
        if self.hops < 1:
            raise Refused(f"model.hops={self.hops}: give at least 1.")
        if self.tying == "adjacent" and self.num_classes != self.vocabulary_size:
            raise Refused(
                f"model.tying='adjacent' answers with one of the {self.vocabulary_size} words, and there are "
                f"{self.num_classes} classes: use model.tying='layer_wise'."
            )
        if self.temporal and sentences > self.story_length:
            raise Refused(f"a story has {sentences} sentences, more than story_length={self.story_length}: cut it.")
