"""Questions about texts whose answers are parts of these, as files have them: SQuAD's JSON, and slots of utterances.

SQuAD: Rajpurkar et al. 2016; also as TFDS has it, such as xquad/en. Slots: RESTAURANTS-8K, Coope et al. 2020.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from attention_jax.base.errors import Refused
from attention_jax.data.text import decode, read_text
from attention_jax.data.tfds_source import open_prepared, read


class Question(NamedTuple):
    """A question about a text.

    Attributes:
      passage: the text.
      question: what is asked; of a slot its words, and "requested" where the one before asked for it.
      answers: the parts of the passage that are right, from a character up to another; () is no answer.
      name: how a message names it.
      slot: the slot that it asks for; None of a question in words.
    """

    passage: str
    question: str
    answers: tuple[tuple[int, int], ...]
    name: str
    slot: str | None = None


def read_questions(path: str, *, slots: list[str] | None = None) -> list[Question]:
    """Returns the questions of a JSON file: an object as SQuAD's, or a list of utterances, each asked for every slot.

    Args:
      path: the file.
      slots: which are known; None takes those that the file has.

    Raises:
      Refused: the file cannot be read or is of neither form, an answer is not within its text, or a slot is unknown.
    """
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise Refused(f"{path!r} is no JSON ({error}): give SQuAD's JSON, or a list of utterances.") from None
    slotted = isinstance(content, list)
    found = _well_formed(path, lambda: list(_utterances(content, path, slots) if slotted else _squad(content, path)))
    if not found:
        raise Refused(f"{path!r} has no question: give a file with some.")
    return found


def slots_of(questions: list[Question]) -> list[str] | None:
    """Returns the slots that questions ask for, sorted; None of questions in words."""
    named = sorted({question.slot for question in questions if question.slot is not None})
    return named or None


def tfds_questions(dataset: str, split: str) -> list[Question]:
    """Returns the questions of a split of a prepared TFDS set in SQuAD's form, such as "xquad/en" or "squad/v1.1".

    Raises:
      Refused: the set is unknown, not prepared or of another form, or has no such split.
    """
    owner = f"{dataset} {split}"

    def questions() -> Iterator[Question]:
        for example in read(open_prepared(dataset), split):
            text, asked, name = (_text(example[key], owner) for key in ("context", "question", "id"))
            given = example["answers"]
            pairs = zip(given["answer_start"], given["text"], strict=True)
            yield _question(text, asked, name, owner, [(int(start), _text(part, owner)) for start, part in pairs])

    return _well_formed(owner, lambda: list(questions()))


def _text(value: bytes, owner: str) -> str:
    return decode(value, f"a text of {owner!r}")


def _well_formed(owner: str, make: Callable[[], list[Question]]) -> list[Question]:
    try:
        return make()
    except (KeyError, TypeError, AttributeError) as error:
        raise Refused(
            f"{owner!r} is neither SQuAD's JSON, an object with data, paragraphs, qas, answers, text and answer_start, "
            f"nor a list of utterances with userInput and labels ({type(error).__name__}: {error}): write it as one."
        ) from None


def _squad(content: dict[str, Any], path: str) -> Iterator[Question]:
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            for one in paragraph["qas"]:
                answers = [(int(answer["answer_start"]), answer["text"]) for answer in one["answers"]]
                yield _question(paragraph["context"], one["question"], str(one["id"]), path, answers)


def _question(passage: str, question: str, name: str, owner: str, answers: list[tuple[int, str]]) -> Question:
    name = f"question {name!r} of {owner!r}"
    for start, text in answers:
        if start < 0 or passage[start : start + len(text)] != text:
            raise Refused(
                f"{name} has the answer {text!r} at character {start}, and its text of {len(passage)} has "
                f"{passage[max(0, start) : max(0, start) + len(text)]!r} there: correct answer_start, in characters."
            )
    spans = tuple(_trimmed(passage, start, start + len(text), name) for start, text in answers)
    return _checked(Question(passage, question, spans, name))


def _utterances(content: list[Any], path: str, slots: list[str] | None) -> Iterator[Question]:
    known = sorted({one["slot"] for item in content for one in item.get("labels", [])}) if slots is None else slots
    for number, item in enumerate(content, start=1):
        name, text = f"item {number} of {path!r}", item["userInput"]["text"]
        requested = item.get("context", {}).get("requestedSlots", [])
        given = {one["slot"]: one["valueSpan"] for one in item.get("labels", [])}
        for slot in (*given, *requested):
            if slot not in known:
                raise Refused(
                    f"{name} has the slot {slot!r}, which no training item has: those have {', '.join(known)}; add "
                    "some with it, or remove the item."
                )
        for slot in known:
            asked = " ".join([slot.replace("_", " "), *(["requested"] if slot in requested else [])])
            # A span from the first character has no startIndex.
            span = (given[slot].get("startIndex", 0), given[slot]["endIndex"]) if slot in given else None
            answers = () if span is None else (_trimmed(text, *span, f"{name}, slot {slot!r},"),)
            yield _checked(Question(text, asked, answers, f"{name}, slot {slot!r},", slot))


def _trimmed(text: str, start: int, end: int, name: str) -> tuple[int, int]:
    """Returns a span without the blanks at its ends."""
    if not 0 <= start < end <= len(text) or not text[start:end].strip():
        raise Refused(
            f"{name} has the answer from character {start} up to {end} of a text of {len(text)}: give a part of the "
            "text that is not blank."
        )
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())


def _checked(question: Question) -> Question:
    for what, text in (("text", question.passage), ("question", question.question)):
        if not text.strip():
            raise Refused(f"{question.name} has an empty {what}: write one, or remove it.")
    return question
