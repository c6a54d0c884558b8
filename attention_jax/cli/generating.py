"""The work of `launch.py generate`: prompts are read, a trained model writes, texts are shown or kept."""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import jax
import jax.numpy as jnp

from attention_jax.base.errors import Refused
from attention_jax.data.seeds import check_seed
from attention_jax.data.text import read_text
from attention_jax.decoding import (
    Piece,
    Prompted,
    Sampling,
    beam_search,
    check_room,
    has_memory,
    prompted,
    room,
    stream,
)
from attention_jax.training.trained import Trained, restore_trained

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


@dataclass(frozen=True)
class Asked:
    """The options of the command, which are described there; None for one that is not given.

    Raises:
      Refused: a value is out of its bounds, or an option would not be heeded beside another.
    """

    workdir: str
    checkpoint: str | None = None
    prompt: str | None = None
    input: str | None = None
    output: str | None = None
    max_new_tokens: int | None = None
    num_return_sequences: int = 1
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: list[str] | None = None
    beams: int | None = None
    alpha: float | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.prompt is None and self.input is None:
            raise Refused("there is nothing to continue: give --prompt=TEXT, or --input=FILE with a prompt a line.")
        if self.prompt is not None and self.input is not None:
            raise Refused(f"--prompt and --input={self.input} are both given: leave out one of them.")
        for name in ("max_new_tokens", "num_return_sequences", "beams", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise Refused(f"--{name}={value}: give at least 1.")
        if self.beams is None and self.alpha is not None:
            raise Refused(f"--alpha={self.alpha} is of beam search: give --beams=N, or leave it out.")
        if self.beams is None:
            check_seed(self.seed or 0, name="--seed")
            self.sampling(memory=False)
        else:
            self._refuse((*SAMPLING, "seed", "stop"), beside=f"--beams={self.beams}")
            if self.num_return_sequences > self.beams:
                raise Refused(
                    f"--num_return_sequences={self.num_return_sequences} of --beams={self.beams}: give more beams."
                )

    def sampling(self, *, memory: bool) -> Sampling:
        """Returns how tokens are drawn; a model with a memory is greedy where nothing is said.

        Raises:
          Refused: as the class does.
        """
        given: dict[str, Any] = {name: value for name in SAMPLING if (value := getattr(self, name)) is not None}
        if memory and not given and self.seed is None:
            given["temperature"] = 0.0
        sampling = Sampling(**given)
        if sampling.temperature == 0:
            self._refuse(("top_k", "top_p", "min_p", "seed"), beside="--temperature=0")
            if self.num_return_sequences > 1:
                raise Refused(
                    f"--num_return_sequences={self.num_return_sequences} would all be the same, of the most probable "
                    "tokens: give --temperature=1, or --beams."
                )
        return sampling

    def _refuse(self, names: Sequence[str], *, beside: str) -> None:
        for name in names:
            if getattr(self, name) is not None:
                raise Refused(f"--{name} changes nothing beside {beside}: leave out one of them.")


@dataclass
class Text:
    """One continuation as it comes; `over` says why it ended, as of `Piece`."""

    prompt: str
    text: str = ""
    log_probability: float = 0.0
    tokens: list[int] = field(default_factory=list)
    over: str | None = None

    def add(self, piece: Piece) -> None:
        """Takes up what is new."""
        self.text += piece.text
        self.log_probability += piece.log_probability
        self.tokens += piece.tokens
        self.over = piece.over

    def as_json(self) -> str:
        """Returns its line of a file; a log-probability that is not finite is a word there."""
        number = self.log_probability if math.isfinite(self.log_probability) else str(self.log_probability)
        return json.dumps({**asdict(self), "log_probability": number}, ensure_ascii=False) + "\n"


def generate_texts(asked: Asked) -> None:
    """Lets the model of a run write, to the terminal as it comes, or into a file of JSON lines.

    Raises:
      Refused: the run has no model or data set that writes texts, or a prompt cannot be continued.
    """
    prompts = _prompts(asked)
    trained = restore_trained(Path(asked.workdir), checkpoint=asked.checkpoint, say=_say)
    tokens = _tokens(asked, trained, prompts)
    of_each = 1 if asked.beams else asked.num_return_sequences
    rows = [row for row in range(len(prompts)) for _ in range(of_each)]
    total = len(prompts) * asked.num_return_sequences
    most = asked.max_new_tokens or room(trained.model, max(map(len, tokens)))
    writer = Writer(asked, trained, width=max(map(len, tokens)) + has_memory(trained.model), most=most)
    with nullcontext() if asked.output is None else _opened(asked.output) as file:
        done = 0
        for start in range(0, len(rows), asked.batch_size):
            batch = rows[start : start + asked.batch_size]
            show = Terminal(sys.stdout, first=done, of=total, with_prompt=not has_memory(trained.model))
            for texts in writer.written([prompts[row] for row in batch], [tokens[row] for row in batch], first=start):
                if file is None:
                    show.follow(texts)
            done += len(texts)
            if file is not None:
                file.writelines(text.as_json() for text in texts)
                file.flush()
                _say(f"{done} of {total} continuations in {asked.output}")


def _tokens(asked: Asked, trained: Trained, prompts: Sequence[str]) -> list[list[int]]:
    """Returns the tokens of each prompt, after a look at whether the model can continue them.

    Raises:
      Refused: it cannot.
    """
    model, tokenizer = trained.model, trained.dataset.tokenizer
    if not hasattr(model, "advance"):
        raise Refused(
            f"workdir {asked.workdir!r} is of a {type(model).__name__}, which writes no text: generate takes a run of "
            "model gpt or transformer."
        )
    if tokenizer is None:
        raise Refused(
            f"workdir {asked.workdir!r} is of a data set whose tokens stand for no text: generate takes a run on texts."
        )
    tokens = []
    for line, prompt in enumerate(prompts, start=1):
        try:
            (of_prompt,) = tokenizer.tokenize([prompt])
            check_room(model, of_prompt, asked.max_new_tokens or 1)
        except Refused as refusal:
            raise Refused(str(refusal) if asked.input is None else f"line {line} of {asked.input}: {refusal}") from None
        tokens.append(of_prompt)
    return tokens


class Writer:
    """Writes batches of texts, all of one shape, as the options say."""

    def __init__(self, asked: Asked, trained: Trained, *, width: int, most: int):
        """Takes a model that can write.

        Args:
          asked: the options.
          trained: the model, and the data set with its tokenizer.
          width: the tokens of the longest prompt, an end among them where the model takes one.
          most: new tokens of each text.
        """
        assert trained.dataset.tokenizer is not None
        self._asked, self._trained, self._width, self._most = asked, trained, width, most
        self._tokenizer = trained.dataset.tokenizer

    def written(self, prompts: Sequence[str], tokens: Sequence[Sequence[int]], *, first: int) -> Iterator[list[Text]]:
        """Yields the texts of a batch as they grow, the same list each time; in beam search, once.

        Args:
          prompts: of each text.
          tokens: of each prompt.
          first: the number of the first text, by which it is drawn.
        """
        # The last batch has fewer texts, and is of the shape of the others.
        missing = self._asked.batch_size - len(prompts) if first else 0
        rows = [*tokens, *[tokens[-1]] * missing]
        trained = self._trained
        before = prompted(trained.model, trained.variables, rows, max_new_tokens=self._most, width=self._width)
        if self._asked.beams is not None:
            yield self._searched(before, prompts)
            return
        texts = [Text(prompt) for prompt in prompts]
        for pieces in self._streamed(before, first=first):
            for text, piece in zip(texts, pieces, strict=False):
                text.add(piece)
            yield texts

    def _streamed(self, before: Prompted, *, first: int) -> Iterator[list[Piece]]:
        asked = self._asked
        return stream(
            before.advance,
            before.state,
            before.prompt,
            before.lengths,
            decode=self._tokenizer.detokenize,
            max_new_tokens=self._most,
            end=before.end,
            stop=tuple(asked.stop or ()),
            sampling=asked.sampling(memory=has_memory(self._trained.model)),
            rng=jax.random.key(asked.seed or 0),
            rows=first + jnp.arange(len(before.lengths)),
        )

    def _searched(self, before: Prompted, prompts: Sequence[str]) -> list[Text]:
        asked = self._asked
        found = jax.device_get(
            _beam_search(
                before.advance,
                before.state,
                before.prompt,
                before.lengths,
                beams=asked.beams,
                alpha=asked.alpha or 0.0,
                best=asked.num_return_sequences,
                max_new_tokens=self._most,
                end=before.end,
            )
        )
        texts = []
        for row, prompt in enumerate(prompts):
            for best in range(asked.num_return_sequences):
                tokens = found.tokens[row, best, : found.lengths[row, best]].tolist()
                ended = bool(found.ended[row, best])
                text = self._tokenizer.detokenize(tokens[:-1] if ended else tokens)
                over = "end" if ended else "length" if tokens else "nothing"
                texts.append(Text(prompt, text, float(found.log_probability[row, best]), tokens, over))
        return texts


_beam_search = jax.jit(beam_search, static_argnames=("beams", "alpha", "best", "max_new_tokens", "end"))


class Terminal:
    """Shows the texts of a batch in their order: the first that is not over as it grows, then those behind it."""

    def __init__(self, out: TextIO, *, first: int, of: int, with_prompt: bool):
        """Takes where they are shown.

        Args:
          out: the terminal.
          first: the number of the first text.
          of: how many there are in all batches; where it is one, it has no head.
          with_prompt: whether each begins with its prompt.
        """
        self._out, self._first, self._of, self._with_prompt = out, first, of, with_prompt
        self._at = 0
        self._shown: int | None = None

    def follow(self, texts: Sequence[Text]) -> None:
        """Shows what is new."""
        while self._at < len(texts):
            text = texts[self._at]
            whole = text.prompt + text.text if self._with_prompt else text.text
            if self._shown is None:
                self._shown = 0
                if self._of > 1:
                    self._out.write(f"--- {self._first + self._at + 1} of {self._of}\n")
            self._out.write(whole[self._shown :])
            self._shown = len(whole)
            if text.over is None:
                break
            self._out.write("\n")
            self._at, self._shown = self._at + 1, None
        self._out.flush()


def _prompts(asked: Asked) -> list[str]:
    if asked.input is None:
        assert asked.prompt is not None
        return [asked.prompt]
    text = sys.stdin.read() if asked.input == "-" else read_text(asked.input)
    prompts = text.removesuffix("\n").split("\n")
    if prompts == [""]:
        raise Refused(f"--input={asked.input} is empty: give a prompt a line.")
    return prompts


def _opened(path: str) -> TextIO:
    try:
        return Path(path).open("w", encoding="utf-8")
    except OSError as error:
        raise Refused(f"--output={path} cannot be written ({error.strerror}): give another file.") from None


def _say(line: str) -> None:
    print(line, file=sys.stderr)
