"""Documents of sentences with a label each, from a folder or a zip: a file a document, a line a sentence."""

from collections.abc import Sequence

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.buckets import lengths_of
from attention_jax.data.dataset import Dataset, Source, register
from attention_jax.data.labelled_texts import TextTokens, check_text_options, shortened, tokenized
from attention_jax.data.numbered import Ragged, Vocabulary
from attention_jax.data.packing import bucketed
from attention_jax.data.text_folder import Folder, folder_splits, read_folder


@register
def document_folder(
    *,
    path: str,
    sentences: int,
    words: int,
    test_files: str | None = None,
    tokens: str = "lower_words",
    min_count: int = 1,
    buckets: int | tuple[int, ...] = 3,
    too_long: str = "refuse",
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    copies_together: bool = False,
    seed: int = 0,
) -> Dataset:
    """Returns labelled documents: document [B, S, W], sentence_lengths [B, S], lengths [B] in sentences, label [B].

    The folder is that of `text_folder`, and each line of a file that is not blank is a sentence; a file without one is
    a document of length 0. The vocabulary is "<padding>", "<unknown>" and the sorted tokens of the training documents.

    Args:
      path: the folder or the zip; where there is none of this path, it is looked for within the folder that the
        environment's TEXTS_DATA_DIR names.
      sentences: S, the most of a document.
      words: W, the most tokens of a sentence, which all are padded to.
      test_files: see `text_folder`.
      tokens, min_count: see `text_classification`.
      buckets: how many numbers of sentences documents are padded to, which are then chosen for the fewest sentences; or
        the numbers, rising, the last of them `sentences`; () pads all to `sentences`.
      too_long: of documents and of sentences, see `text_classification`.
      validation_fraction, test_fraction, copies_together, seed: see `text_folder`.

    Raises:
      Refused: it is no such folder or zip, a file is not UTF-8, a document or a sentence is too long, no token is left
        for the vocabulary, an option cannot be used, or a split has no document.
    """
    for most in (sentences, words):
        check_text_options(most, (), tokens=tokens, too_long=too_long, min_count=min_count, owner="document_folder")
    folder = read_folder(path)
    parts = folder_splits(folder, test_files, validation_fraction, test_fraction, seed, copies_together=copies_together)
    documents = _sentences(folder, sentences, words, tokens=tokens, too_long=too_long)
    training = (sentence for number in parts["train"] for sentence in documents[number])
    vocabulary = Vocabulary(training, owner=repr(path), min_count=min_count)
    numbered = [[vocabulary.numbers(sentence) for sentence in document] for document in documents]
    counts = np.array([len(documents[number]) for number in parts["train"]])
    lengths = lengths_of(buckets, longest=sentences, lengths=np.maximum(counts, 1))
    label, texts = folder.labelled.label, folder.labelled.texts
    splits: dict[str, Source] = {
        split: Documents(
            [numbered[number] for number in part],
            label[part],
            lengths,
            words=words,
            written=[texts[number] for number in part],
        )
        for split, part in parts.items()
    }
    facts = {"vocabulary": vocabulary.tokens, "vocabulary_size": len(vocabulary)}
    facts |= {"classes": folder.labelled.classes, "num_classes": len(folder.labelled.classes)}
    return Dataset(splits, facts, TextTokens(vocabulary.tokens, tokens))


class Documents:
    """Documents with labels, padded when they are asked for.

    Attributes:
      padded_lengths: [N], how many sentences each is padded to.
      label: [N], the class of each, int32.
      written: the N documents as the files have them.
    """

    def __init__(
        self,
        documents: Sequence[Sequence[np.ndarray]],
        label: np.ndarray,
        buckets: Sequence[int],
        *,
        words: int,
        written: Sequence[str],
    ):
        """Keeps the documents.

        Args:
          documents: N of them, each its sentences, each its tokens.
          label: [N].
          buckets: the numbers of sentences that documents are padded to, rising; the last holds the longest.
          words: what sentences are padded to.
          written: the documents as the files have them.
        """
        self._sentences = Ragged([sentence for document in documents for sentence in document])
        self._counts = np.array([len(document) for document in documents], np.int32)
        self._starts = np.cumsum(self._counts) - self._counts
        self._words = words
        self.label, self.written = label.astype(np.int32), written
        self.padded_lengths = bucketed(self._counts, buckets)

    def __len__(self) -> int:
        return len(self._counts)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the documents `indices` ([B]) padded with 0 to the longest bucket of them: document [B, S, W],
        sentence_lengths [B, S], lengths and label [B], all int32.
        """
        counts = self._counts[indices]
        most = int(self.padded_lengths[indices].max())
        real = np.arange(most) < counts[:, None]
        places = (self._starts[indices][:, None] + np.arange(most))[real]
        document = np.zeros((len(indices), most, self._words), np.int32)
        document[real] = self._sentences.padded(places, width=self._words)
        sentence_lengths = np.zeros((len(indices), most), np.int32)
        sentence_lengths[real] = self._sentences.lengths[places]
        return {
            "document": document,
            "sentence_lengths": sentence_lengths,
            "lengths": counts,
            "label": self.label[indices],
        }


def _sentences(folder: Folder, sentences: int, words: int, *, tokens: str, too_long: str) -> list[list[list[str]]]:
    """Returns the tokens of each sentence of each document, none longer than may be."""

    def fitting(found: list, most: int, name: str, noun: str, option: str) -> list:
        if len(found) > most and too_long == "refuse":
            raise Refused(
                f"{name} has {len(found)} {noun}, more than {option}={most}: give {option}={len(found)}, or "
                f"too_long='cut' to read the first {most}."
            )
        return shortened(found, most, too_long)

    documents = []
    for name, text in zip(folder.names, folder.labelled.texts, strict=True):
        lines = [line for line in text.split("\n") if line.strip()]
        lines = fitting(lines, sentences, f"document {name!r}", "sentences", "sentences")
        whose = f"a sentence of document {name!r}"
        documents.append([fitting(one, words, whose, "tokens", "words") for one in tokenized(lines, tokens)])
    return documents
