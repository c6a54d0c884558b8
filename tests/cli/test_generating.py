"""Prompts from the standard input, and texts on a terminal: each as it grows, in their order."""

import io

import jax
import jax.numpy as jnp
import pytest

from attention_jax import data, models
from attention_jax.base.errors import Refused
from attention_jax.cli.generating import Asked, Terminal, Text, _prompts, _tokens
from attention_jax.decoding import Piece, prompted
from attention_jax.training.trained import Trained


def piece(text: str, over: str | None = None) -> Piece:
    return Piece(tokens=(1,), text=text, log_probability=-1.0, over=over)


def grown(out: io.StringIO, terminal: Terminal, texts: list[Text], *chunks: list[Piece]) -> list[str]:
    """Returns what the terminal shows after each chunk."""
    shown = []
    for pieces in chunks:
        for text, new in zip(texts, pieces, strict=True):
            text.add(new)
        terminal.follow(texts)
        shown.append(out.getvalue())
    return shown


def test_one_text_is_shown_piece_by_piece_without_a_head():
    out = io.StringIO()
    terminal = Terminal(out, first=0, of=1, with_prompt=True)
    shown = grown(out, terminal, [Text("to ")], [piece("be")], [piece(" or", "length")])
    assert shown == ["to be", "to be or\n"]


def test_several_follow_one_another():
    out = io.StringIO()
    terminal = Terminal(out, first=2, of=4, with_prompt=False)
    shown = grown(
        out,
        terminal,
        [Text("x"), Text("y")],
        [piece("a"), piece("b", "end")],
        [piece("c", "end"), piece("", "end")],
    )
    assert shown == ["--- 3 of 4\na", "--- 3 of 4\nac\n--- 4 of 4\nb\n"]


def test_prompts_come_a_line_from_the_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\nthree\n"))
    assert _prompts(Asked("w", input="-")) == ["one", "", "three"]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(Refused, match=r"--input=- is empty"):
        _prompts(Asked("w", input="-"))


def test_a_log_probability_that_is_not_finite_is_a_word():
    assert '"log_probability": "-inf"' in Text("p", log_probability=float("-inf"), over="nothing").as_json()


def test_a_model_with_a_memory_is_greedy_unless_it_is_told():
    assert Asked("w", prompt="p").sampling(memory=True).temperature == 0
    assert Asked("w", prompt="p").sampling(memory=False).temperature == 1
    assert Asked("w", prompt="p", top_k=3).sampling(memory=True).temperature == 1
    with pytest.raises(Refused, match="would all be the same"):
        Asked("w", prompt="p", num_return_sequences=2).sampling(memory=True)


def test_a_run_that_writes_no_text_is_refused():
    digits = data.build("digits", form="image")
    vit = models.build("vit", facts=digits.facts, num_layers=1, num_heads=2, width=8)
    with pytest.raises(Refused, match=r"workdir 'w' is of a ViT, .* takes a run of model gpt or transformer"):
        _tokens(Asked("w", prompt="p"), Trained(vit, {}, digits, step=1), ["p"])
    numbers = data.build("copying", train_examples=8, validation_examples=8, test_examples=8)
    gpt = models.build("gpt", facts=numbers.facts, num_layers=1, num_heads=2, width=8)
    with pytest.raises(Refused, match=r"workdir 'w' .* stand for no text"):
        _tokens(Asked("w", prompt="p"), Trained(gpt, {}, numbers, step=1), ["p"])


def test_an_attention_without_steps_is_refused():
    facts = {"vocabulary_size": 6, "length": 8}
    gpt = models.build("gpt", facts=facts, num_layers=1, num_heads=2, width=8, attention="forgetting")

    def start():
        variables = gpt.init(jax.random.key(0), inputs=jnp.zeros((1, 8), jnp.int32))
        return prompted(gpt, variables, [[1, 2]], max_new_tokens=2).state

    with pytest.raises(Refused, match=r"forgetting has no steps .* Use variant scaled_dot"):
        jax.eval_shape(start)
