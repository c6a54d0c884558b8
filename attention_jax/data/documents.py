"""Many documents, packed into rows of one length or padded to one of a few."""

from collections.abc import Mapping, Sequence

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, Source, register
from attention_jax.data.packing import Rows, best_fit_decreasing, bucketed, check_rows, cut
from attention_jax.data.text import Characters, decode, encode, held_out, read_text, universal_newlines
from attention_jax.data.tfds_source import open_prepared, read


@register
def tfds_documents(*, dataset: str, field: str, context: int, buckets: tuple[int, ...] = ()) -> Dataset:
    """Returns the texts of the TFDS set `dataset` (such as "aeslc"), each example a document: see `text_documents`.

    Its splits train and validation are needed; test is read where there is one. A text is taken as it is stored, its
    ends of lines too, but for a byte order mark at its start.

    Args:
      dataset: TFDS name of a set.
      field: the feature that holds the text, such as "email_body".
      context: the most tokens in a row, T.
      buckets: see `text_documents`.

    Raises:
      Refused: the set is unknown, not prepared, or without these splits or this field; or its documents cannot be used.
    """
    builder = open_prepared(dataset)
    if field not in builder.info.features:
        raise Refused(f"{dataset!r} has no field {field!r}: it has {', '.join(sorted(builder.info.features))}.")
    documents = {}
    for split in ("train", "validation", *(["test"] if "test" in builder.info.splits else [])):
        name = f"a {split} document of {dataset!r}"
        documents[split] = [_text(example[field], name, field) for example in read(builder, split)]
    return _dataset(documents, context, tuple(buckets), dataset)


@register
def text_documents(
    *, path: str, context: int, separator: str = "\n\n", validation_fraction: float = 0.1, buckets: tuple[int, ...] = ()
) -> Dataset:
    """Returns the documents of a UTF-8 text file, in rows: inputs, targets (the next characters), weights [B, T].

    Each document is predicted on its own, and each of its characters but the first exactly once: one of more than T + 1
    characters is cut into pieces, which are documents of their own from there on, and one of fewer than two characters
    is left out. The vocabulary is the sorted characters of the training documents.

    The ends of lines may be those of any system, in the file and in `separator`, and a byte order mark at the start is
    skipped: see `read_text`. What stands between two separators and is blank, empty or of one character is no document,
    and takes no share of the validation split.

    Without `buckets`, rows are packed by `best_fit_decreasing`, once, and have two more fields: segments int32 [B, T]
    (1, 2 ... by document, 0 on padding) and positions int32 [B, T] (0, 1 ... in each document).

    With `buckets`, each row is one document, padded at its end to the shortest bucket that holds it, and has one more
    field: lengths int32 [B], its tokens without the padding. Each batch has rows of one bucket: [B, 64], then [B, 256],
    as they come.

    Args:
      path: the file.
      context: the most tokens in a row, T.
      separator: what stands between two documents; it belongs to neither.
      validation_fraction: of the documents, taken from the end; at least one, and not all, where there are two.
      buckets: lengths of rows, rising, the last of them `context`; () packs.

    Raises:
      Refused: the file cannot be read or is not UTF-8; an option cannot be used; a split has no document of two
        characters; or the validation documents have a character that the training documents have not.
    """
    if not separator:
        raise Refused("separator '' separates no documents: give what stands between two, such as '\\n\\n'.")
    pieces = read_text(path).split(universal_newlines(separator))
    documents = [piece for piece in pieces if len(piece) > 1 and not piece.isspace()]
    end = held_out(len(documents), validation_fraction)
    if len(documents) > 1:
        end = min(max(end, 1), len(documents) - 1)
    return _dataset({"train": documents[:end], "validation": documents[end:]}, context, tuple(buckets), path)


def _text(value: object, name: str, field: str) -> str:
    if not isinstance(value, bytes):
        raise Refused(f"field {field!r} of {name} is {type(value).__name__}, and text is needed: choose another field.")
    return decode(value, name)


def _dataset(documents: Mapping[str, Sequence[str]], context: int, buckets: tuple[int, ...], name: str) -> Dataset:
    """Returns the rows of the `documents` (by split) of the data set `name`."""
    check_rows(context, buckets)
    for split, texts in documents.items():
        if not any(len(text) > 1 for text in texts):
            raise Refused(
                f"the {split} split of {name!r} has no document of two characters among {len(texts)}: "
                "use more text, or another separator or field."
            )
    ids, vocabulary = encode({split: "".join(texts) for split, texts in documents.items()}, name)
    splits: dict[str, Source] = {
        split: _rows(ids[split], np.array([len(text) for text in texts]), context, buckets)
        for split, texts in documents.items()
    }
    facts = {"vocabulary_size": len(vocabulary), "length": context, "vocabulary": vocabulary}
    return Dataset(splits=splits, facts=facts, tokenizer=Characters(vocabulary, owner=name))


def _rows(ids: np.ndarray, document_lengths: np.ndarray, context: int, buckets: tuple[int, ...]) -> Rows:
    pieces = cut(document_lengths, longest=context)
    if buckets:
        lengths = bucketed(pieces.lengths, buckets)
        return Rows(ids, pieces, rows=np.arange(len(lengths)), padded_lengths=lengths, packed=False)
    rows = best_fit_decreasing(pieces.lengths, capacity=context)
    return Rows(ids, pieces, rows=rows, padded_lengths=np.full(rows.max() + 1, context), packed=True)
