"""Subwords by byte pair encoding: frequent words are one token, rare ones several, and no text is unknown."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from attention_jax.base.errors import Refused
from attention_jax.data.words import MARKS, before_end

_BYTES = 256
_LEAST_COUNT = 2  # a pair seen once is no pattern


class Subwords:
    """Subwords of the training texts.

    Sennrich et al. 2016, Neural Machine Translation of Rare Words with Subword Units. They are joined from bytes
    (Radford et al. 2019, Language Models are Unsupervised Multitask Learners), within words and with the blank before a
    word, so every text has tokens, and its tokens spell it exactly, but for blanks at its ends. The same texts give the
    same subwords.

    Attributes:
      vocabulary: what each token stands for: the marks, then the subwords; "�" for a part of a character.
    """

    def __init__(self, texts: Sequence[str], *, vocabulary_size: int, lowercase: bool = False):
        """Learns the subwords.

        Args:
          texts: the training texts, those of all languages that share the vocabulary.
          vocabulary_size: tokens, marks and 256 bytes among them; fewer where no two subwords come together twice.
          lowercase: whether texts are read in lower case; then so is what is spelt.

        Raises:
          Refused: `vocabulary_size` is less than the marks and the bytes.
        """
        # Imported where it is used: most data sets have no subwords.
        import tokenizers
        from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

        least = len(MARKS) + _BYTES
        if vocabulary_size < least:
            raise Refused(f"vocabulary_size={vocabulary_size}: give at least {least}, for each byte and the marks.")
        self._bpe = tokenizers.Tokenizer(models.BPE())
        if lowercase:
            self._bpe.normalizer = normalizers.Lowercase()
        # The blank before the first word makes it the same subword as elsewhere.
        self._bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        self._bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            # The marks are no part of it: it would find them in a text that spells them.
            vocab_size=vocabulary_size - len(MARKS),
            min_frequency=_LEAST_COUNT,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        with _one_thread():
            self._bpe.train_from_iterator(texts, trainer)
        pieces = [self._bpe.decode([piece]) for piece in range(self._bpe.get_vocab_size())]
        self.vocabulary = [*MARKS, *pieces]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the tokens of each text, without marks."""
        with _one_thread():
            encoded = self._bpe.encode_batch_fast(list(texts), add_special_tokens=False)
        return [[piece + len(MARKS) for piece in text.ids] for text in encoded]

    def detokenize(self, ids: Iterable[int]) -> str:
        """Returns the text of the tokens before the first end token, without blanks at its ends; marks are left out."""
        return str(self._bpe.decode(before_end(ids))).strip()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps tokenizers from its threads: after their use it warns, in the terminal, of each process that is forked."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before
