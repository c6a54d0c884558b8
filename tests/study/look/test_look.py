"""The report of a run on one input: whole, and looked at in a browser."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from attention_jax import data, models
from attention_jax.base.errors import Refused
from attention_jax.study.look.given import given
from attention_jax.study.look.look_report import look_html
from attention_jax.study.look.looked import looked_at
from attention_jax.study.look.maps import attention_maps
from attention_jax.study.look.run import look_at
from attention_jax.training import Experiment, Progress, train
from attention_jax.training.trained import Trained
from tests.launch.command_line import RECALL
from tests.study.report.test_browser import BROWSER, DESK, PHONE, Tab, in_browser

STACK = {"num_layers": 2, "num_heads": 2, "width": 8}


def untrained(dataset: data.Dataset, name: str, **options: Any) -> Trained:
    model = models.build(name, facts=dataset.facts, **options)
    example = models.arrays_of(model, dataset.splits["train"].gather(np.zeros(1, np.int64)))
    return Trained(model, jax.jit(model.init)(jax.random.key(0), **example), dataset, step=0)


def report(trained: Trained, text: str) -> str:
    shown = given(trained, text)
    maps = attention_maps(trained.model, trained.variables, shown.arrays)
    return look_html(maps, shown, title="looked at", facts={"step": "0"}, command="python launch.py look")


@pytest.fixture(scope="module")
def translated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a Transformer, whose first layers form no weights."""
    folder = tmp_path_factory.mktemp("pairs")
    for name, text in (("en", "a dog\ntwo dogs\n"), ("de", "ein Hund\nzwei Hunde\n")):
        for split in ("train", "val"):
            (folder / f"{split}.{name}").write_text(text)
    dataset = data.build("parallel_texts", folder=str(folder), length=12, vocabulary_size=280, buckets=())
    decoder = {**STACK, "attention": ("linear", "scaled_dot")}
    return report(untrained(dataset, "transformer", encoder=STACK, decoder=decoder), "two dogs")


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a ViT, of the folder of its run."""
    workdir = tmp_path_factory.mktemp("digit")
    sections = {
        **RECALL,
        "data": {"name": "digits", "form": "image"},
        "task": {"name": "classification"},
        "model": {"name": "vit", "patch": 2, **STACK},
        "steps": 1,
        "evaluation": {},
        "checkpoint": {},
    }
    train(Experiment(**sections), workdir / "run", progress=Progress(stream=io.StringIO()))
    said = look_at(
        workdir / "run", "3", checkpoint=None, output=workdir / "digit.html", command="python launch.py look"
    )
    assert said == f"open {workdir / 'digit.html'} in a browser"
    return workdir / "digit.html"


def links(page: str) -> list[str]:
    """Returns the addresses that the page names, without those that Vega's own script makes up."""
    page = re.sub(r'<script type="text/plain" id="vega">.*?</script>', "", page, flags=re.DOTALL)
    return re.findall(r'(?:src|href)="((?!data:|#)[^"]*)"', page)


def test_a_translation_shows_all_three_attentions(translated):
    heads = re.findall(r"<h2>(.*?)</h2>", translated)
    assert heads[:3] == ["Encoder self-attention", "Decoder self-attention", "Decoder cross-attention"]
    assert "Layer 1 is linear, which forms no weights: drawn in their place: norm of the state." in translated
    assert '"state-1"' in translated
    # Encoder: 2 layers of 2 heads; decoder: 1; cross-attention: 2.
    assert translated.count('src="data:image/png') == 4 + 2 + 4
    assert '"rollout-0"' in translated
    assert '"rollout-1"' not in translated
    assert links(translated) == []


def test_an_image_is_shown_under_its_patches(digit):
    page = digit.read_text()
    # Each head as a map and over the image, and the rollout over it.
    assert page.count('src="data:image/png') == 4 + 4 + 1
    assert "class token attends" in page
    assert "row 3 column 3" in page
    assert links(page) == []


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a language model none of whose layers forms weights, on 8 tokens."""
    folder = tmp_path_factory.mktemp("silent")
    (folder / "text.txt").write_text("abcdef" * 20)
    dataset = data.build("text_file", path=str(folder / "text.txt"), context=8)
    attention = ("gated_delta_net", "mamba2", "moba:block=2,top_k=2", "mla:latent=4")
    trained = untrained(dataset, "gpt", **{**STACK, "num_layers": 4}, attention=attention)
    (folder / "look.html").write_text(report(trained, "abcdefab"))
    return folder / "look.html"


def test_layers_without_weights_show_what_they_have(silent):
    page = silent.read_text()
    for layer, said in (
        ("1 is gated_delta_net", "share of the state that is kept, strength of writing, norm of the state."),
        ("2 is mamba2", "share of the state that is kept, strength of writing, norm of the state."),
        ("3 is moba:block=2,top_k=2", "share of each value in each output."),
    ):
        assert f"Layer {layer}, which forms no weights: drawn in their place: {said}" in page
    assert "Layer 4 is mla:latent=4, which forms no weights: there is nothing to draw of it." in page
    assert [name for name in ("decay-0", "strength-0", "state-0") if f'"{name}"' in page] == [
        "decay-0",
        "strength-0",
        "state-0",
    ]
    # The shares of the two heads of one layer.
    assert page.count('src="data:image/png') == 2
    assert links(page) == []


def test_padding_is_not_looked_at():
    dataset = data.build("copying", longest=6, test_longest=6, train_examples=8, validation_examples=8, test_examples=8)
    trained = untrained(dataset, "gpt", **STACK)
    shown = given(trained, "2")
    length = int(dataset.splits["validation"].gather(np.array([2]))["lengths"][0])
    assert shown.arrays["inputs"].shape == (1, length)
    assert len(shown.tokens[""]) == length


def test_an_input_that_there_is_not_is_refused(digit, tmp_path):
    run = digit.parent / "run"
    for text in ("a text", "-1", "100000"):
        with pytest.raises(Refused, match=rf"--input={text}: .* the number of an example"):
            look_at(run, text, checkpoint=None, output=None, command="")
    (tmp_path / "text.txt").write_text("abcdef" * 20)
    dataset = data.build("text_file", path=str(tmp_path / "text.txt"), context=8)
    trained = untrained(dataset, "gpt", **STACK)
    with pytest.raises(Refused, match="9 tokens: give 1 to 8"):
        given(trained, "abcdefabc")
    with pytest.raises(Refused, match="no character 'x'"):
        given(trained, "x")
    with pytest.raises(Refused, match="holds no run"):
        look_at(tmp_path, "3", checkpoint=None, output=None, command="")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root Chromium does not start with its sandbox.
        started = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@in_browser
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_every_chart_is_drawn_and_nothing_is_wider_than_the_screen(browser, digit, viewport):
    tab = Tab(browser, digit, viewport=viewport)
    try:
        tab.draw()
        marks = tab.page.eval_on_selector_all(
            ".chart", "all => all.map(chart => chart.querySelectorAll('svg [aria-roledescription*=mark] path').length)"
        )
        assert len(marks) == 4
        assert min(marks) >= 4
        drawn = tab.page.eval_on_selector_all("img", "all => all.every(one => one.naturalWidth > 0)")
        assert drawn
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        tab.page.select_option(".vega-bindings select", "layer 2, head 1")
        assert tab.complaints == []
    finally:
        tab.context.close()


@in_browser
def test_every_line_of_what_is_told_is_drawn(browser, silent):
    tab = Tab(browser, silent, viewport=PHONE)
    try:
        tab.draw()
        lines = tab.page.eval_on_selector_all(
            ".chart", "all => all.map(chart => chart.querySelectorAll('svg .mark-line path').length)"
        )
        # A line for each of two heads, in each of three charts.
        assert lines == [2, 2, 2]
        tab.page.select_option(".vega-bindings select", "layer 2, mamba2")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert tab.complaints == []
    finally:
        tab.context.close()


TEXTS = {
    f"{label}/{number}.txt": f"{label} film .\nseen {number} times"
    for label in ("good", "bad")
    for number in "0123456789"
}


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    for name, text in TEXTS.items():
        path = tmp_path / "documents" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "documents"


def declared(trained: Trained, text: str) -> list[Any]:
    return looked_at(trained, given(trained, text).arrays)


def test_a_document_shows_its_words_and_its_sentences(documents):
    dataset = data.build("document_folder", path=str(documents), sentences=3, words=5)
    gru = {"cell": "gru", "width": 3, "bidirectional": True}
    trained = untrained(dataset, "han", width=4, words=gru, sentences=gru)
    words, sentences = declared(trained, "A good film .\n\nseen")
    assert words.title == "Words of each sentence"
    assert words.words == [["<unknown>", "good", "film", "."], ["seen"]]
    assert sentences.words == [["<unknown> good film .", "seen"]]
    for line, weights in zip(words.words + sentences.words, words.weights + sentences.weights, strict=True):
        assert weights.shape == (1, len(line))
        np.testing.assert_allclose(weights.sum(), 1, atol=1e-6)
    page = look_html([], given(trained, "0"), title="", facts={}, command="", declared=declared(trained, "0"))
    assert re.findall(r"<h2>(.*?)</h2>", page)[:2] == ["Words of each sentence", "Sentences of the document"]
    assert '<span title="' in page
    assert links(page) == []


@pytest.mark.parametrize("name", ["recurrent_classifier", "cnn_classifier", "encoder_classifier"])
def test_a_text_shows_what_is_pooled(documents, name):
    dataset = data.build("text_folder", path=str(documents), context=8)
    options = {"recurrent_classifier": {}, "cnn_classifier": {"attention": "scaled_dot"}, "encoder_classifier": STACK}
    trained = untrained(dataset, name, pooling="self_attentive:hops=2", **options[name])
    *before, pooled = declared(trained, "seen & bad")
    assert pooled.words == [["seen", "<unknown>", "bad"]]
    assert pooled.weights[0].shape == (2, 3)
    np.testing.assert_allclose(pooled.weights[0].sum(1), 1, atol=1e-6)
    assert [(one.rows, one.columns, one.weights.shape) for one in before] == (
        [(pooled.words[0], pooled.words[0], (4, 3, 3))] if name == "cnn_classifier" else []
    )
    with pytest.raises(Refused, match=r"^--input has no token: give a text"):
        given(trained, " ")


def test_two_texts_show_which_words_see_which(tmp_path):
    for split in ("train", "validation"):
        (tmp_path / f"{split}.csv").write_text("first,second,label\na b c,c a,yes\nb,a b,no\n")
    files = {split: f"{split}.csv" for split in ("train", "validation")}
    dataset = data.build("sentence_pairs", folder=str(tmp_path), **files, context=4, label="label")
    trained = untrained(dataset, "pair_classifier", width=4, hidden=4, encoder={"width": 3})
    (shown,) = declared(trained, "0")
    assert (shown.rows, shown.columns) == (["a", "b", "c"], ["c", "a"])
    np.testing.assert_allclose(shown.weights.sum(-1), 1, atol=1e-6)
    page = look_html([], given(trained, "0"), title="", facts={}, command="", declared=[shown])
    assert '"declared-0"' in page
    assert page.count('src="data:image/png') == 1


def test_a_model_that_has_nothing_to_show_is_refused(documents, tmp_path):
    sections = {
        **RECALL,
        "data": {"name": "text_folder", "path": str(documents), "context": 8},
        "task": {"name": "classification"},
        "model": {"name": "recurrent_classifier", "width": 4, "encoder": {"width": 3}, "pooling": "last"},
        **{"steps": 1, "batch_size": 2, "evaluation": {}, "checkpoint": {}},
    }
    train(Experiment(**sections), tmp_path / "run", progress=Progress(stream=io.StringIO()))
    with pytest.raises(Refused, match=r"forms no weights of what it declares to be looked at: there are no maps\.$"):
        look_at(tmp_path / "run", "a film", checkpoint=None, output=None, command="")
