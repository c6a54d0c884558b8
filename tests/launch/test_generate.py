"""`launch.py generate`: what it writes is what the run's model gives, and what it cannot write it refuses."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.training.trained import Trained, restore_trained
from tests.launch.command_line import RECALL, Answer, read_jsonl, write_config
from tests.launch.test_refusals import answers, assert_refused

# Each letter has one that follows it.
TEXT = "the quick." * 80
CONTEXT = 24
PROMPTS = ["the q", "quick.the ", "t"]
PAIRS = {"en": ["a dog", "two dogs", "a dog runs", "it runs"] * 8, "de": ["ein Hund", "Hunde", "Hund läuft", "er"] * 8}


@dataclass(frozen=True)
class Runs:
    """Folders of runs, and what commands on them said, by the name of the command."""

    folder: Path
    said: dict[str, Answer]

    @property
    def gpt(self) -> Trained:
        return restore_trained(self.folder / "gpt", say=print)


def trainings(folder: Path) -> dict[str, dict[str, Any]]:
    (folder / "text.txt").write_text(TEXT)
    for split in ("train", "val"):
        for language, texts in PAIRS.items():
            (folder / f"{split}.{language}").write_text("\n".join(texts) + "\n")
    text = {"name": "text_file", "path": str(folder / "text.txt"), "context": CONTEXT}
    pairs = {"name": "parallel_texts", "folder": str(folder), "length": 16, "vocabulary_size": 280, "buckets": ()}
    stack = {"num_layers": 1, "num_heads": 2, "width": 16}
    short = {**RECALL, "steps": 2, "evaluation": {}, "checkpoint": {}}
    optimizer = {"name": "adamw", "learning_rate": 3e-2}
    return {
        "gpt": {**short, "data": text, "steps": 80, "optimizer": optimizer, "ema_decay": 0.5},
        "transformer": {
            **short,
            "data": pairs,
            "task": {"name": "translation", "beams": 1},
            "model": {"name": "transformer", "encoder": stack, "decoder": stack},
        },
    }


def commands(folder: Path) -> dict[str, list[str]]:
    """The commands whose answers the tests look at."""
    (folder / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    many = f"--input={folder / 'prompts.txt'}"
    gpt, transformer = f"--workdir={folder / 'gpt'}", f"--workdir={folder / 'transformer'}"
    drawn = [gpt, "--temperature=6", "--max_new_tokens=9", "--seed=7", "--top_k=6"]
    return {
        "greedy": [gpt, "--prompt=the q", "--temperature=0", "--max_new_tokens=15"],
        "greedy_file": [gpt, many, "--temperature=0", "--max_new_tokens=12", f"--output={folder / 'greedy.jsonl'}"],
        "beams": [gpt, many, "--beams=1", "--max_new_tokens=12", f"--output={folder / 'beams.jsonl'}"],
        "several": [*drawn, "--prompt=the q", "--num_return_sequences=3"],
        "drawn": [*drawn, many, "--num_return_sequences=2", f"--output={folder / 'drawn.jsonl'}"],
        "batches": [
            *drawn, many, "--num_return_sequences=2", "--batch_size=4", f"--output={folder / 'batches.jsonl'}"
        ],
        "stop": [
            gpt, "--prompt=the q", "--temperature=0", "--stop=k.", "--stop=he", f"--output={folder / 'stop.jsonl'}"
        ],
        "translated": [transformer, "--prompt=a dog runs"],
        "translations": [
            transformer, "--prompt=a dog runs", "--beams=3", "--alpha=0.6", "--num_return_sequences=2",
            f"--output={folder / 'translations.jsonl'}",
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    """Trains the runs and writes with them, all in one process."""
    folder = tmp_path_factory.mktemp("runs")
    trained = {
        name: ["train", write_config(folder / f"{name}.py", sections), f"--workdir={folder / name}"]
        for name, sections in trainings(folder).items()
    }
    words = trained | {name: ["generate", *given] for name, given in commands(folder).items()}
    said = dict(zip(words, answers(list(words.values()), environment={}), strict=True))
    for name, answer in said.items():
        assert answer.code == 0, (name, answer.err)
    return Runs(folder, said)


def greedily(trained: Trained, prompt: str, new: int) -> tuple[str, float]:
    """Returns the text that full passes over what there is so far give, and its log-probability."""
    tokenizer = trained.dataset.tokenizer
    (tokens,) = tokenizer.tokenize([prompt])
    passed = jax.jit(trained.model.apply)
    total = 0.0
    for _ in range(new):
        inputs = jnp.zeros((1, CONTEXT), jnp.int32).at[0, : len(tokens)].set(jnp.array(tokens))
        of_next = jax.nn.log_softmax(passed(trained.variables, inputs)[0, len(tokens) - 1])
        tokens.append(int(of_next.argmax()))
        total += float(of_next.max())
    return tokenizer.detokenize(tokens)[len(prompt) :], total


def test_greedy_text_is_that_of_full_passes_and_was_learnt(runs):
    assert runs.said["greedy"].out == "the quick.the quick.\n"
    for line, prompt in zip(read_jsonl(runs.folder / "greedy.jsonl"), PROMPTS, strict=True):
        text, log_probability = greedily(runs.gpt, prompt, 12)
        assert (line["prompt"], line["text"], line["over"]) == (prompt, text, "length")
        np.testing.assert_allclose(line["log_probability"], log_probability, rtol=1e-4, atol=1e-5)
        assert runs.gpt.dataset.tokenizer.detokenize(line["tokens"]) == text


def test_the_average_is_what_writes(runs):
    restored = runs.gpt
    assert restored.step == 80
    (_, parts) = next(iter(restored.variables["params"].items()))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(parts))
    best = restore_trained(runs.folder / "gpt", checkpoint="last", say=print)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, best.variables, restored.variables))


def test_one_beam_is_greedy(runs):
    greedy, beams = read_jsonl(runs.folder / "greedy.jsonl"), read_jsonl(runs.folder / "beams.jsonl")
    assert [line["tokens"] for line in beams] == [line["tokens"] for line in greedy]


def test_several_are_headed_and_the_same_in_batches(runs):
    shown = runs.said["several"].out
    assert [line for line in shown.splitlines() if line.startswith("---")] == [f"--- {n} of 3" for n in (1, 2, 3)]
    drawn = read_jsonl(runs.folder / "drawn.jsonl")
    assert [line["prompt"] for line in drawn] == [prompt for prompt in PROMPTS for _ in range(2)]
    assert all(len(line["tokens"]) == 9 for line in drawn)
    assert len({line["text"] for line in drawn[:2]}) == 2
    assert f"--- 1 of 3\nthe q{drawn[0]['text']}\n--- 2 of 3\nthe q{drawn[1]['text']}\n--- 3" in shown
    for line, other in zip(drawn, read_jsonl(runs.folder / "batches.jsonl"), strict=True):
        assert {**line, "log_probability": 0} == {**other, "log_probability": 0}
    assert "6 of 6 continuations" in runs.said["batches"].err


def test_the_text_ends_before_a_stop_string(runs):
    (line,) = read_jsonl(runs.folder / "stop.jsonl")
    assert (line["text"], line["over"]) == ("uic", "stop")


def test_a_source_is_translated(runs):
    assert runs.said["translated"].out.count("\n") == 1
    assert not runs.said["translated"].out.startswith("a dog")
    first, second = read_jsonl(runs.folder / "translations.jsonl")
    assert first["prompt"] == second["prompt"] == "a dog runs"
    assert first["tokens"] != second["tokens"]
    assert {first["over"], second["over"]} <= {"end", "length"}


def refused(folder: Path) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    (folder / "nothing").mkdir()
    (folder / "unknown.txt").write_text("the\ndog\n")
    gpt, transformer = f"--workdir={folder / 'gpt'}", f"--workdir={folder / 'transformer'}"
    a = (gpt, "--prompt=t")
    return [
        ((f"--workdir={folder / 'nothing'}", "--prompt=a"), ("holds no run", "train")),
        ((gpt,), ("--prompt", "--input")),
        ((*a, "--input=x"), ("--prompt", "--input=x", "leave out one")),
        ((gpt, "--input=absent.txt"), ("absent.txt", "cannot be read")),
        ((gpt, "--prompt=the d"), ("text.txt", "no character 'd'")),
        ((gpt, f"--input={folder / 'unknown.txt'}"), ("line 2", "unknown.txt", "no character 'd'")),
        ((gpt, "--prompt="), ("empty", "one at least")),
        ((gpt, f"--prompt={TEXT[:25]}"), ("25 tokens", "24")),
        ((gpt, "--prompt=the q", "--max_new_tokens=200"), ("200", "5 tokens", "24", "max_new_tokens=20")),
        ((transformer, f"--prompt={'dog ' * 30}"), ("tokens", "16")),
        ((transformer, "--prompt=a", "--max_new_tokens=17"), ("17", "16")),
        ((*a, "--beams=0"), ("--beams=0", "at least 1")),
        ((*a, "--beams=2", "--num_return_sequences=3"), ("--num_return_sequences=3", "--beams=2")),
        ((*a, "--beams=2", "--stop=x"), ("--stop", "--beams=2")),
        ((*a, "--alpha=1"), ("--alpha=1", "--beams")),
        ((*a, "--temperature=-1"), ("temperature=-1", "give 0")),
        ((*a, "--temperature=0", "--top_k=3"), ("--top_k", "--temperature=0")),
        ((*a, "--temperature=0", "--num_return_sequences=2"), ("--num_return_sequences=2", "--beams")),
        ((*a, "--top_p=0"), ("top_p=0",)),
        ((*a, "--seed=-1"), ("--seed=-1",)),
        ((*a, "--stop="), ("empty string",)),
        ((*a, "--checkpoint=7"), ("--checkpoint=7", "80")),
        ((*a, f"--output={folder / 'no' / 'x.jsonl'}"), ("x.jsonl", "cannot be written")),
    ]


def test_what_cannot_be_written_is_refused(runs):
    bad = refused(runs.folder)
    said = answers([["generate", *words] for words, _ in bad], environment={})
    for answer, (words, says) in zip(said, bad, strict=True):
        assert_refused(answer, says, words)


def test_a_text_that_is_another_now_is_refused(runs):
    (runs.folder / "other").mkdir()
    for path in (runs.folder / "gpt").rglob("*"):
        there = runs.folder / "other" / path.relative_to(runs.folder / "gpt")
        there.mkdir(exist_ok=True) if path.is_dir() else there.write_bytes(path.read_bytes())
    (runs.folder / "longer.txt").write_text(TEXT + "0123456789" + TEXT)
    config = json.loads((runs.folder / "other" / "config.json").read_text())
    config["data"]["path"] = str(runs.folder / "longer.txt")
    (runs.folder / "other" / "config.json").write_text(json.dumps(config))
    (answer,) = answers([["generate", f"--workdir={runs.folder / 'other'}", "--prompt=t"]], environment={})
    assert_refused(answer, ("no longer gives", "token/embedding"), "other")
