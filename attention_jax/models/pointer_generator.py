"""Pointer-generator networks with coverage: See, Liu & Manning 2017. A summary, in words of its own or of its source.

h_i are the states of a BiLSTM over the source, s_t those of an LSTM over the summary, x_t its inputs; a_t = softmax(v^T
tanh(W_h h_i + W_s s_t + w_c c_i + b)), c_i the sum of a_i before (equation 11), h*_t = sum_i a_ti h_i;
P_vocab = softmax(V' (V [s_t, h*_t] + b) + b') (4); p_gen = sigmoid(w_h h*_t + w_s s_t + w_x x_t + b) (8);
P(w) = p_gen P_vocab(w) + (1 - p_gen) sum_{i: w_i = w} a_ti (9), over the vocabulary and the source's own words.

Differences: the attention's query is the hidden state of the LSTM without its cell's; as in the paper, and unlike its
published code, x_t has no context in it, so that all s_t are there before the first a_t.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels import AttentionOutput, Padding, lookup
from attention_jax.kernels.steps import Fixed
from attention_jax.layers import Recurrent, RecurrentOptions, TokenEmbedding, aligned, recurrent
from attention_jax.layers.aligned import Aligned
from attention_jax.layers.looked import Looked
from attention_jax.layers.padding import is_real, lengths_of
from attention_jax.layers.product import product
from attention_jax.layers.recurrent import Carry
from attention_jax.models.catalogue import LOSSES, register

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    *recurrent.PARAMETER_RULES,
    *aligned.PARAMETER_RULES,
    ("token/embedding", (None, "fsdp")),
    (r"(begin_\d+|readout|vocabulary)/kernel", ("fsdp",)),
    (r"(begin_\d+|readout|vocabulary)/bias", ()),
    ("generate/(kernel|bias)", ()),
)
COVERAGE = "coverage_loss"


class _Memory(NamedTuple):
    """The source as it is read: states [B, S, E], the extended ids [B, S] or None, how many are real [B]."""

    states: Array
    extended: Array | None
    lengths: Array


@register("pointer_generator")
class PointerGenerator(nn.Module, kw_only=True):
    """Predicts each next word of a summary; words that its source alone has are copied.

    Attributes:
      vocabulary_size: V, a fact of the data.
      oov_words: M, the most words of a source that are not in the vocabulary, a fact of the data: ids from V to
        V + M - 1 are those of the source at hand. 0 is a model that generates alone.
      target_length: the most tokens of a summary, a fact of the data.
      begin: the token before its first, a fact of the data.
      end: the token after its last, a fact of the data.
      unknown: what stands for words that are not in the vocabulary where they are read, a fact of the data.
      width: of a word's vector.
      encoder: the options of the layers over the source.
      decoder: of the one over the summary, as many layers of the same cell.
      attention: the spec of the attention variant; "additive" is without coverage.
      coverage_weight: what the mean over words of sum_i min(a_ti, c_ti) is multiplied with in the loss of training
        (equation 13). The paper adds it for the last steps: train without it, then go on from those weights.
      dropout_rate: of word vectors, and of what words are made of.
    """

    vocabulary_size: int
    oov_words: int
    target_length: int
    begin: int
    end: int
    unknown: int
    width: int = 128
    encoder: RecurrentOptions = RecurrentOptions(width=256, bidirectional=True)
    decoder: RecurrentOptions = RecurrentOptions(width=256)
    attention: str = "coverage"
    coverage_weight: float = 1.0
    dropout_rate: float = 0.0

    reads: ClassVar[tuple[str, ...]] = ("source", "inputs")
    may_read: ClassVar[tuple[str, ...]] = ("source_extended", "source_lengths", "target_lengths")
    looks: ClassVar[tuple[Looked, ...]] = (Looked("align", "Alignment", "source", rows="inputs"),)
    parameter_rules = PARAMETER_RULES

    def setup(self) -> None:
        """Makes the layers.

        Raises:
          Refused: an option does not go with another.
        """
        for name in ("cell", "num_layers"):
            if getattr(self.encoder, name) != getattr(self.decoder, name):
                raise Refused(f"model.decoder.{name} does not go on where the encoder ends: use that of the encoder.")
        if self.decoder.bidirectional:
            raise Refused("model.decoder.bidirectional=True would read words that are not written yet: leave it out.")
        if self.coverage_weight and COVERAGE not in lookup(self.attention).claims.aux:
            raise Refused(
                f"model.coverage_weight={self.coverage_weight} is for an attention that tells its {COVERAGE}, and "
                f"{self.attention} does not: use model.attention=coverage, or model.coverage_weight=0."
            )
        init = nn.initializers.normal(self.width**-0.5)
        self.token = TokenEmbedding(self.vocabulary_size, self.width, embedding_init=init)
        self.encode, self.decode, self.align = (
            Recurrent(self.encoder),
            Recurrent(self.decoder),
            Aligned(self.attention),
        )
        parts = self.decoder.num_layers * (2 if self.decoder.cell == "lstm" else 1)
        self.begins = [
            nn.Dense(self.decoder.width, dot_general=product, name=f"begin_{part + 1}") for part in range(parts)
        ]
        self.readout = nn.Dense(self.decoder.width, dot_general=product)
        self.vocabulary = nn.Dense(self.vocabulary_size, dot_general=product)
        if self.oov_words:
            self.generate = nn.Dense(1)
        self.dropout = nn.Dropout(self.dropout_rate)

    def __call__(
        self,
        source: Int[Array, "B S"],
        inputs: Int[Array, "B T"],
        *,
        source_extended: Int[Array, "B S"] | None = None,
        source_lengths: Int[Array, " B"] | None = None,
        target_lengths: Int[Array, " B"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B T X"]:
        """Returns the log-probabilities of the word after each word of the summary, float32 [B, T, V + M].

        Args:
          source: [B, S], each smaller than V.
          inputs: [B, T], the summary from the token that begins it; words from V on are read as unknown.
          source_extended: [B, S], the source with ids from V on in place of unknown words: needed where M is not 0.
          source_lengths: [B], how many tokens of each source, from the first, are real; None: all are.
          target_lengths: [B], the same of the summary.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: M is not 0 and there is no `source_extended`, or the attention forms no weights.
        """
        memory, carries = self._read(source, source_extended, source_lengths, deterministic=deterministic)
        covers = bool(self.coverage_weight) and self.is_mutable_collection(LOSSES) and not self.is_initializing()
        words = self._words(inputs, deterministic=deterministic)
        hidden = self.decode(words, lengths=target_lengths, carries=carries, deterministic=deterministic).outputs
        outputs = ("out", "weights", "aux") if covers else ("out", "weights")
        looked = self._look(hidden, memory, outputs=outputs, deterministic=deterministic)
        if covers:
            assert looked.aux is not None
            real = is_real(inputs.shape[1], lengths_of(inputs, target_lengths))
            mean = jnp.sum(looked.aux[COVERAGE][:, 0] * real) / jnp.maximum(real.sum(), 1)
            self.sow(LOSSES, "coverage", self.coverage_weight * mean)
        assert looked.weights is not None
        parts = (words, hidden, looked.out[:, :, 0], looked.weights[:, 0])
        return self._log_probability(*parts, memory.extended, deterministic=deterministic)

    def start(
        self,
        source: Int[Array, "B S"],
        *,
        source_extended: Int[Array, "B S"] | None = None,
        source_lengths: Int[Array, " B"] | None = None,
    ) -> Any:
        """Returns the decode state before the first word: see `advance`; arguments as of a call."""
        memory, carries = self._read(source, source_extended, source_lengths, deterministic=True)
        return {"memory": Fixed(memory), "carries": carries, "covered": None}

    def advance(
        self, state: Any, tokens: Int[Array, "b T"], lengths: Int[Array, " b"]
    ) -> tuple[Float[Array, "b X"], Any]:
        """Returns the log-probabilities of the word after the last new one, [b, V + M], and the state after it.

        Args:
          state: what the words before left; at first what `start` returns.
          tokens: [b, T], the new words, up to V + M - 1.
          lengths: [b], how many of them, from the first, each sequence has.
        """
        memory, steps = state["memory"].held, lookup(self.attention).claims.steps
        words = self._words(tokens, deterministic=True)
        ran = self.decode(words, lengths=lengths, carries=state["carries"])
        outputs = ("out", "weights", "state") if steps else ("out", "weights")
        looked = self._look(ran.outputs, memory, state=state["covered"], lengths=lengths, outputs=outputs)
        assert looked.weights is not None
        last = jnp.maximum(lengths - 1, 0)[:, None, None]
        parts = (words, ran.outputs, looked.out[:, :, 0], looked.weights[:, 0])
        word, hidden, context, weights = (jnp.take_along_axis(part, last, axis=1) for part in parts)
        extended = memory.extended
        if extended is not None:
            extended = jnp.repeat(extended, len(tokens) // len(extended), axis=0)
        found = self._log_probability(word, hidden, context, weights, extended, deterministic=True)[:, 0]
        return found, {**state, "carries": ran.carries, "covered": looked.state}

    def _read(
        self, source: Array, extended: Array | None, lengths: Array | None, *, deterministic: bool
    ) -> tuple[_Memory, tuple[Carry, ...]]:
        """Returns the source as it is read, and what the decoder begins with."""
        if self.oov_words and extended is None:
            raise Refused("model pointer_generator copies, and the batch has no source_extended: use data summaries.")
        ran = self.encode(
            self._words(source, deterministic=deterministic), lengths=lengths, deterministic=deterministic
        )
        begins = iter(self.begins)
        layers = ran.joined(1 + self.encoder.bidirectional)
        carries = tuple(tuple(nn.relu(next(begins)(part)) for part in layer) for layer in layers)
        return _Memory(ran.outputs, extended if self.oov_words else None, lengths_of(source, lengths)), carries

    def _words(self, tokens: Int[Array, "B T"], *, deterministic: bool) -> Float[Array, "B T D"]:
        known = jnp.where(tokens < self.vocabulary_size, tokens, self.unknown)
        return self.dropout(self.token(known), deterministic=deterministic)

    def _look(
        self,
        hidden: Array,
        memory: _Memory,
        *,
        outputs: Sequence[str],
        state: Any = None,
        lengths: Array | None = None,
        deterministic: bool = True,
    ) -> AttentionOutput:
        return self.align(
            hidden,
            memory.states,
            mask=Padding(memory.lengths),
            state=state,
            lengths=lengths,
            outputs=outputs,
            deterministic=deterministic,
        )

    def _log_probability(
        self,
        words: Float[Array, "b T D"],
        hidden: Float[Array, "b T W"],
        context: Float[Array, "b T E"],
        weights: Float[Array, "b T S"],
        extended: Int[Array, "b S"] | None,
        *,
        deterministic: bool,
    ) -> Float[Array, "b T X"]:
        inner = self.readout(jnp.concatenate([hidden, context], axis=-1))
        logits = self.vocabulary(self.dropout(inner, deterministic=deterministic)).astype(jnp.float32)
        if extended is None:
            return jax.nn.log_softmax(logits)
        generated = jax.nn.sigmoid(self.generate(jnp.concatenate([context, hidden, words], axis=-1))).astype(
            jnp.float32
        )
        both = final_distribution(jax.nn.softmax(logits), weights, generated, extended, self.oov_words)
        # Of a probability that is 0 the logarithm has neither a value nor a derivative.
        return jnp.log(jnp.maximum(both, jnp.finfo(jnp.float32).tiny))


def final_distribution(
    vocabulary: Float[Array, "B T V"],
    weights: Float[Array, "B T S"],
    generated: Float[Array, "B T 1"],
    extended: Int[Array, "B S"],
    oov_words: int,
) -> Float[Array, "B T X"]:
    """Returns p_gen P_vocab + (1 - p_gen) times what each word has of the weights (equation 9), [B, T, V + M].

    A word that the source has several times gets the weights of all its places.

    Args:
      vocabulary: [B, T, V], P_vocab.
      weights: [B, T, S], the share of each place of the source.
      generated: [B, T, 1], p_gen.
      extended: [B, S], the word at each place, smaller than V + M.
      oov_words: M.
    """

    def added(one: Array, ids: Array, shares: Array) -> Array:
        return one.at[:, ids].add(shares)

    widened = jnp.pad(generated * vocabulary, ((0, 0), (0, 0), (0, oov_words)))
    return jax.vmap(added)(widened, extended, (1 - generated) * weights.astype(vocabulary.dtype))
