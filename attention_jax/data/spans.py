"""Questions about passages whose answers are parts of these: tokens, and the way back to characters."""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.buckets import lengths_of
from attention_jax.data.dataset import Dataset, Source, register
from attention_jax.data.numbered import Ragged, Vocabulary
from attention_jax.data.packing import bucketed
from attention_jax.data.seeds import check_seed
from attention_jax.data.span_files import Question, read_questions, slots_of, tfds_questions
from attention_jax.data.text import place

# Digits, letters, or one mark: a span of "7pm" may end between the two.
_TOKEN = re.compile(r"\d+|[^\W\d_]+|[^\w\s]|_")
# The token before a passage whose question may have no answer: a span that begins with it is none.
NO_ANSWER = "<no answer>"


@register
def spans(
    *,
    train: str,
    validation: str | None = None,
    test: str | None = None,
    folder: str = ".",
    dataset: str | None = None,
    passage_length: int,
    question_length: int = 30,
    characters: int = 0,
    min_count: int = 1,
    buckets: int | tuple[int, ...] = 3,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """Returns questions whose answers are parts of passages, as `Spans.gather` lays them out.

    A file is JSON of SQuAD (a question without an answer has no answers), or a list of utterances with slots, each of
    which is a passage that is asked for every slot of the training file: the question is the slot's name, with
    "requested" where the system asked for it, and a slot that the utterance does not fill has no answer. Where training
    questions may have none, each passage begins with the token "<no answer>", and its span is that token alone.

    Tokens are runs of digits, runs of letters and single marks, in lower case; the vocabulary is that of training, of
    passages and questions together. A span that ends within a token is widened to it for the loss; what is scored is
    the text. In training the first of several answers is learned.

    Args:
      train, validation, test: the names of the files. A validation or a test of None is drawn from the training
        passages.
      folder: of the files; where there is none of this path, they are looked for within the folder that the
        environment's TEXTS_DATA_DIR names.
      dataset: TFDS's name of a prepared set in SQuAD's form, such as "xquad/en", whose splits the three then name.
      passage_length: the most tokens of a passage, the rest of it is cut; a training question whose answer is cut is
        left out.
      question_length: the most tokens of a question.
      characters: the most characters of a token, for models that read them; 0 is without.
      min_count: tokens that training has less often are unknown.
      buckets: how many lengths passages are padded to, or the lengths: see `sentence_pairs`.
      validation_fraction, test_fraction: of the training passages, where the split is not given; 0 is no test split.
      seed: fixes which passages; 0 to 2^32 - 1.

    Raises:
      Refused: a file cannot be read or is of neither form; an answer is not within its text; a slot, or the want of an
        answer, is not in training; or an option cannot be used.
    """
    check_seed(seed, name="spans seed")
    for name, value, least in (
        ("passage_length", passage_length, 2),
        ("question_length", question_length, 1),
        ("characters", characters, 0),
        ("min_count", min_count, 1),
    ):
        if value < least:
            raise Refused(f"spans {name}={value}: give at least {least}.")
    read = _read({"train": train, "validation": validation, "test": test}, folder, dataset)
    parts = _with_drawn(read, {"validation": validation_fraction, "test": test_fraction}, seed, owner=train)
    none = _marked(parts)
    made = {split: _Tokens(part, none, passage_length, question_length) for split, part in parts.items()}
    kept = {split: part.fitting if split == "train" else np.arange(len(part.start)) for split, part in made.items()}
    if not len(kept["train"]):
        raise Refused(f"no training answer of {train!r} is within the first {passage_length} tokens: give more.")
    marks = (NO_ANSWER,) if none else ()
    numbering = _Numbering(made, characters, min_count, marks, owner=repr(train))
    trained = made["train"].lengths[made["train"].passage_of[kept["train"]]]
    lengths = lengths_of(buckets, longest=passage_length, lengths=trained)
    width = max(map(len, made["train"].questions))
    splits: dict[str, Source] = {
        split: Spans(part, kept[split], numbering, lengths, question_width=width) for split, part in made.items()
    }
    facts = {"vocabulary": numbering.words.tokens, "vocabulary_size": len(numbering.words)}
    facts |= {"passage_length": passage_length, "question_length": width, "no_answer": none}
    facts |= {"character_vocabulary_size": numbering.character_count}
    return Dataset(splits, facts, notes=tuple(_notes(made, passage_length, owner=train)))


class Spans:
    """Questions about passages, padded when they are asked for.

    Attributes:
      padded_lengths: [N], the length that the passage of each is padded to.
      questions: each as the file has it.
    """

    def __init__(
        self,
        made: "_Tokens",
        kept: np.ndarray,
        numbering: "_Numbering",
        buckets: Sequence[int],
        *,
        question_width: int,
    ):
        """Keeps the questions `kept` ([N]) of a split.

        Args:
          made: their tokens.
          kept: which of them.
          numbering: of words and characters.
          buckets: the lengths that passages are padded to, rising; the last is enough for the longest.
          question_width: what questions are padded to.
        """
        self.questions = [made.asked[number] for number in kept]
        self._offsets, self._passage_of = made.offsets, made.passage_of[kept]
        self._start, self._end, self._width = made.start[kept], made.end[kept], question_width
        questions = [made.questions[number][:question_width] for number in kept]
        self._words = [
            Ragged([*map(numbering.words.numbers, texts)]) for texts in (_lower(made.passages), _lower(questions))
        ]
        self._forms = [Ragged([*map(numbering.forms, texts)]) for texts in (made.passages, questions)]
        self._spelt = numbering.spelt
        self.padded_lengths = bucketed(self._words[0].lengths[self._passage_of], buckets)

    def __len__(self) -> int:
        return len(self.padded_lengths)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the questions `indices` ([B]), all int32, padded with 0.

        passage [B, T] and question [B, J], with passage_lengths and question_lengths [B]; start and end [B], the first
        and the last token of the answer, -1 where the passage was cut before it; where characters are read
        passage_characters [B, T, C] and question_characters [B, J, C].
        """
        rows = {"passage": self._passage_of[indices], "question": np.asarray(indices)}
        widths = {"passage": int(self.padded_lengths[indices].max()), "question": self._width}
        batch = {"start": self._start[indices], "end": self._end[indices]}
        for name, words, forms in zip(rows, self._words, self._forms, strict=True):
            batch[name] = words.padded(rows[name], width=widths[name])
            batch[f"{name}_lengths"] = words.lengths[rows[name]]
            if self._spelt.size:
                batch[f"{name}_characters"] = self._spelt[forms.padded(rows[name], width=widths[name])]
        return batch

    def span(self, row: int, start: int, end: int) -> tuple[int, int] | None:
        """Returns the characters, from one up to another, of a row's tokens `start` to `end`; None is no answer."""
        first, last = self._offsets[self._passage_of[row]][start], self._offsets[self._passage_of[row]][end]
        return (first[0], last[1]) if first[1] else None


class _Tokens:
    """The tokens of a split's questions and of their passages.

    Attributes:
      asked: the N questions as files have them.
      passages: each passage once, as its tokens.
      offsets: the characters of each token of a passage, from one up to another; (0, 0) of the mark of no answer.
      passage_of: [N], the passage of each question.
      questions: the tokens of each.
      start, end: [N], the first and the last token of the first answer, -1 where it is cut.
      lengths: the tokens of each passage.
    """

    def __init__(self, asked: list[Question], none: bool, passage_length: int, question_length: int):
        self.asked = asked
        number = {text: place for place, text in enumerate(dict.fromkeys(question.passage for question in asked))}
        mark = [(0, 0)] if none else []
        self.offsets = [[*mark, *(one.span() for one in _TOKEN.finditer(text))][:passage_length] for text in number]
        self.passages = [
            [text[start:end] if end else NO_ANSWER for start, end in offsets]
            for text, offsets in zip(number, self.offsets, strict=True)
        ]
        self.passage_of = np.array([number[question.passage] for question in asked])
        self.questions = [_TOKEN.findall(question.question)[:question_length] for question in asked]
        found = [self._placed(question, self.offsets[number[question.passage]]) for question in asked]
        self.start, self.end = np.array(found, np.int32).T
        self.lengths = np.array([len(tokens) for tokens in self.passages])

    @property
    def fitting(self) -> np.ndarray:
        """The questions whose answer is not cut."""
        return np.flatnonzero(self.start >= 0)

    def _placed(self, question: Question, offsets: list[tuple[int, int]]) -> tuple[int, int]:
        if not question.answers:
            return 0, 0
        start, end = question.answers[0]
        within = [number for number, (first, last) in enumerate(offsets) if last > start and first < end]
        if not within or offsets[within[-1]][1] < end:
            return -1, -1
        return within[0], within[-1]


class _Numbering:
    """Words and characters as numbers.

    Attributes:
      words: the vocabulary of the training tokens, in lower case.
      spelt: [F, C], the characters of each form of all splits, the first of none; [1, 0] where they are not read.
      character_count: how many numbers of characters there are; 0 where they are not read.
    """

    def __init__(
        self, made: Mapping[str, _Tokens], characters: int, min_count: int, marks: tuple[str, ...], *, owner: str
    ):
        train = [*made["train"].passages, *made["train"].questions]
        self.words = Vocabulary(_lower(train), owner=owner, min_count=min_count, marks=marks)
        self.character_count = 0
        self.spelt = np.zeros((1, 0), np.int32)
        self._numbers: dict[str, int] = {}
        if not characters:
            return
        known = Vocabulary((form for text in train for form in text if form not in marks), owner=owner)
        every = [form for part in made.values() for text in (*part.passages, *part.questions) for form in text]
        forms = [form for form in dict.fromkeys(every) if form not in marks]
        self._numbers = {form: number for number, form in enumerate(forms, start=1)}
        self.character_count = len(known)
        self.spelt = np.zeros((1 + len(forms), characters), np.int32)
        for number, form in enumerate(forms, start=1):
            spelt = known.numbers(form[:characters])
            self.spelt[number, : len(spelt)] = spelt

    def forms(self, text: Sequence[str]) -> np.ndarray:
        """Returns the row of `spelt` of each token of a text; 0 of a mark, and where characters are not read."""
        return np.array([self._numbers.get(form, 0) for form in text], np.int32)


def _lower(texts: Iterable[Sequence[str]]) -> list[list[str]]:
    return [[token.lower() for token in text] for text in texts]


def _read(paths: Mapping[str, str | None], folder: str, dataset: str | None) -> dict[str, list[Question]]:
    given = {split: path for split, path in paths.items() if path is not None}
    if dataset is not None and folder != ".":
        raise Refused(
            f"spans reads dataset={dataset!r} by TFDS, and folder={folder!r} is of files: give one of the two."
        )
    if dataset is not None:
        return {split: tfds_questions(dataset, name) for split, name in given.items()}
    given = {split: str(place(f"{folder}/{path}")) for split, path in given.items()}
    train = read_questions(given["train"])
    slots = slots_of(train)
    others = {split: read_questions(path, slots=slots) for split, path in given.items() if split != "train"}
    for split, questions in others.items():
        if (slots is None) != (slots_of(questions) is None):
            raise Refused(
                f"{given[split]!r} and {given['train']!r} differ in form: give two of SQuAD, or two of slots."
            )
    return {"train": train, **others}


def _with_drawn(
    read: dict[str, list[Question]], fractions: Mapping[str, float], seed: int, *, owner: str
) -> dict[str, list[Question]]:
    """Returns the splits, those that are not there drawn from the training passages."""
    wanted = {split: share for split, share in fractions.items() if split not in read and share}
    if "validation" not in {*read, *wanted} or not all(0 < share < 1 for share in fractions.values() if share):
        raise Refused(f"spans validation and test fractions {dict(fractions)}: give shares of the passages below 1.")
    passages = list(dict.fromkeys(question.passage for question in read["train"]))
    order = np.random.default_rng(seed).permutation(len(passages))
    split_of, taken = {}, 0
    for split, share in wanted.items():
        count = round(share * len(passages))
        split_of.update({passages[number]: split for number in order[taken : taken + count]})
        taken += count
    drawn = {split: [one for one in read["train"] if split_of.get(one.passage) == split] for split in wanted}
    parts = {"train": [one for one in read["train"] if one.passage not in split_of], **drawn}
    parts |= {split: part for split, part in read.items() if split != "train"}
    empty = [split for split, part in parts.items() if not part]
    if empty:
        raise Refused(
            f"the {len(passages)} passages of {owner!r} leave the split {empty[0]} empty: give other fractions."
        )
    return {split: parts[split] for split in ("train", "validation", "test") if split in parts}


def _marked(parts: Mapping[str, list[Question]]) -> bool:
    """Returns whether questions may have no answer; those of training say so."""
    none = not all(question.answers for question in parts["train"])
    for part in parts.values():
        for question in part:
            if not none and not question.answers:
                raise Refused(
                    f"{question.name} has no answer, and each training question has one: add such ones, or remove it."
                )
    return none


def _notes(made: Mapping[str, _Tokens], passage_length: int, *, owner: str) -> list[str]:
    lost = {split: len(part.start) - len(part.fitting) for split, part in made.items()}
    return [
        f"spans of {owner!r}: the answers of {count} of {len(made[split].start)} {split} questions are beyond the "
        f"first {passage_length} tokens, and {'are left out' if split == 'train' else 'cannot be found'}"
        for split, count in lost.items()
        if count
    ]
