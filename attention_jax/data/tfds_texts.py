"""Texts with a label each, from TFDS: any prepared set with a text and a class in each example."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.labelled_texts import Labelled, check_text_options, text_dataset
from attention_jax.data.seeds import check_seed
from attention_jax.data.stratified import groups, stratified
from attention_jax.data.text import decode
from attention_jax.data.tfds_source import open_prepared, read

# In place of a label's field: all fields of the set that are true or false.
BOOLEANS = "*"


@register
def tfds_texts(
    *,
    dataset: str,
    fields: Mapping[str, Any],
    context: int,
    tokens: str = "lower_words",
    min_count: int = 1,
    buckets: tuple[int, ...] = (),
    too_long: str = "refuse",
    validation_fraction: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Returns the labelled texts of a prepared TFDS set: fields and vocabulary as of `text_classification`.

    The set's own splits are read, those of the same name; a validation split that it has not is drawn from its training
    texts. The texts of a split are in the order of their bytes, so that the order of the files is of no matter.

    Args:
      dataset: TFDS's name, such as "imdb_reviews" or "goemotions".
      fields: which of its fields are the "text" and the "label": a class, a text or a whole number. Label "*" is all
        fields that are true or false, as of goemotions: an example is of the one that is true, and those of several or
        of none are left out, so that it is the part of the set with one label.
      context: the most tokens in a text.
      tokens, min_count, buckets, too_long: see `text_classification`.
      validation_fraction: of the training texts, where the set has no validation split.
      seed: fixes which; 0 to 2^32 - 1.

    Raises:
      Refused: the set is not there or has no such fields; a label is not in its training texts; a text is too long; or
        an option cannot be used.
    """
    check_text_options(context, buckets, tokens=tokens, too_long=too_long, min_count=min_count, owner="tfds_texts")
    check_seed(seed, name="tfds_texts seed")
    builder = open_prepared(dataset)
    text, label = _fields(builder, dataset, fields)
    splits = [split for split in ("train", "validation", "test") if split in builder.info.splits]
    if "train" not in splits:
        raise Refused(
            f"TFDS data set {dataset!r} has the splits {', '.join(builder.info.splits)}, and train is needed."
        )
    read_of, lost = {}, {}
    for split in splits:
        every = [
            (_text(example[text], dataset, text), _label(builder, example, label)) for example in read(builder, split)
        ]
        read_of[split] = sorted((one, of) for one, of in every if of is not None)
        lost[split] = len(every) - len(read_of[split])
    table = _labelled(dataset, read_of)
    parts = _parts(read_of)
    if "validation" not in parts:
        parts |= _drawn(table, parts["train"], validation_fraction, seed, dataset)
    made = text_dataset(table, parts, context, tokens=tokens, min_count=min_count, buckets=buckets, too_long=too_long)
    return Dataset(made.splits, made.facts, notes=tuple(_notes(dataset, lost, read_of)))


def _fields(builder: Any, dataset: str, fields: Mapping[str, Any]) -> tuple[str, str | tuple[str, ...]]:
    if {*fields} != {"text", "label"}:
        raise Refused(f"data.fields={dict(fields)}: give one for text and one for label, such as comment_text and *.")
    features = builder.info.features
    booleans = tuple(sorted(name for name, feature in features.items() if _is_boolean(feature)))
    for name, field in fields.items():
        if name == "label" and field == BOOLEANS:
            if not booleans:
                raise Refused(f"data.fields.label='*': {dataset!r} has no field that is true or false: name one field.")
        elif field not in features:
            near = did_you_mean(str(field), features)
            raise Refused(f"TFDS data set {dataset!r} has no field {field!r} (data.fields.{name}).{near}")
    return fields["text"], booleans if fields["label"] == BOOLEANS else fields["label"]


def _is_boolean(feature: Any) -> bool:
    """Returns whether a feature is one value that is true or false."""
    dtype = getattr(feature, "np_dtype", None)
    single = isinstance(dtype, (type, np.dtype)) and getattr(feature, "shape", None) == ()
    return bool(single and np.dtype(dtype) == np.bool_)


def _text(value: Any, dataset: str, field: str) -> str:
    if not isinstance(value, bytes):
        raise Refused(f"field {field!r} of {dataset!r} is no text: set data.fields.text.")
    return decode(value, f"a text of {dataset!r}")


def _label(builder: Any, example: Mapping[str, Any], label: str | tuple[str, ...]) -> str | None:
    if isinstance(label, tuple):
        true = [name for name in label if example[name]]
        return true[0] if len(true) == 1 else None
    value, names = example[label], getattr(builder.info.features[label], "names", None)
    if names:
        # TFDS has -1 where an example has no class.
        return names[int(value)] if int(value) >= 0 else None
    return value.decode() if isinstance(value, bytes) else str(int(value))


def _labelled(dataset: str, read_of: Mapping[str, list[tuple[str, str]]]) -> Labelled:
    classes = sorted({label for _, label in read_of["train"]})
    if len(classes) < 2:
        raise Refused(f"the training texts of {dataset!r} have {len(classes)} labels: two or more are needed.")
    number = {name: place for place, name in enumerate(classes)}
    for split, rows in read_of.items():
        strange = sorted({label for _, label in rows} - {*classes})
        if strange:
            raise Refused(f"the {split} texts of {dataset!r} have the label {strange[0]!r}, and no training text has.")
    every = [row for rows in read_of.values() for row in rows]
    return Labelled(repr(dataset), [text for text, _ in every], np.array([number[of] for _, of in every]), classes)


def _parts(read_of: Mapping[str, Sequence[Any]]) -> dict[str, np.ndarray]:
    parts, start = {}, 0
    for split, rows in read_of.items():
        parts[split] = np.arange(start, start + len(rows))
        start += len(rows)
    return parts


def _drawn(table: Labelled, train: np.ndarray, fraction: float, seed: int, dataset: str) -> dict[str, np.ndarray]:
    drawn = stratified(
        table.label[train],
        groups([*map(str, train)]),
        validation_fraction=fraction,
        test_fraction=0,
        seed=seed,
        owner=repr(dataset),
        noun="text",
    )
    return {split: train[part] for split, part in drawn.items()}


def _notes(dataset: str, lost: Mapping[str, int], read_of: Mapping[str, list[Any]]) -> list[str]:
    return [
        f"{count} of the {count + len(read_of[split])} {split} texts of {dataset!r} have no one label, and are left out"
        for split, count in lost.items()
        if count
    ]
