"""Runs that start from weights: of another run or a file, renamed, skipped; and what does not fit, in one line."""

import functools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from attention_jax.base.errors import Refused
from attention_jax.interop.word_vectors import write_word_vectors
from attention_jax.layers.paths import path_of
from attention_jax.training import Experiment
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.sections import Init, section
from attention_jax.training.state import TrainState
from attention_jax.training.weights import Weights, fitting_weights, with_weights
from tests.training import tiny
from tests.training.disturbance import Killed, at_batch, final_state, kill

SHAPES = {"token": {"embedding": (6, 4)}, "head": {"kernel": (4, 6), "bias": (6,)}}


def state_of(shapes: Any = SHAPES, dtype: str = "float32") -> TrainState:
    """A state whose arrays are all ones; it has a buffer and batch statistics too."""
    params = jax.tree.map(lambda shape: jnp.ones(shape, dtype), shapes, is_leaf=lambda x: isinstance(x, tuple))
    nothing = jnp.int32(0)
    return TrainState(
        step=nothing, params=params, buffers={"projection": jnp.ones((3,))},
        mutable={"batch_stats": {"mean": jnp.ones((2,))}}, opt_state={}, key=jnp.zeros(2, jnp.uint32),
        bad_step=nothing, skipped=nothing, typical_norm=jnp.float32(0), average={},
    )  # fmt: skip


NAMES = ("token/embedding", "head/kernel", "head/bias", "buffers/projection", "batch_stats/mean")


def arrays(shapes: dict[str, tuple[int, ...]] | None = None) -> Weights:
    """Arrays that differ, by the paths of `state_of`; with other shapes, or None for one that is left out."""
    own = {"token/embedding": (6, 4), "head/kernel": (4, 6), "head/bias": (6,)}
    own |= {"buffers/projection": (3,), "batch_stats/mean": (2,), **(shapes or {})}
    return {
        name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + number
        for number, (name, shape) in enumerate(own.items())
        if shape is not None
    }


def read(file: Path, weights: Weights, state: TrainState | None = None, **options: Any) -> Weights:
    save_file(weights, file)
    return fitting_weights(Init(source=str(file), **options), state or state_of(), say=print)


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "weights.safetensors"


def test_every_array_of_the_state_is_that_of_the_file_in_its_own_dtype(file):
    state = state_of(dtype="bfloat16")
    weights = read(file, arrays(), state)
    assert weights.keys() == {*NAMES}
    fields = with_weights(state, weights)
    assert fields.keys() == {"params", "buffers", "mutable"}
    changed = replace(state, **fields)
    assert jax.tree.map(jnp.shape, changed) == jax.tree.map(jnp.shape, state)
    assert changed.params["head"]["kernel"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(changed.params["head"]["kernel"], arrays()["head/kernel"])
    np.testing.assert_array_equal(changed.buffers["projection"], arrays()["buffers/projection"])
    np.testing.assert_array_equal(changed.mutable["batch_stats"]["mean"], arrays()["batch_stats/mean"])


def test_names_may_have_dots_and_be_renamed_and_what_is_skipped_stays_as_drawn(file):
    there = {name.replace("/", "."): array for name, array in arrays({"head/kernel": (4, 9)}).items()}
    there["encoder.token.embedding"] = there.pop("token.embedding")
    there["pooler.kernel"] = np.zeros((4, 4), np.float32)
    rename = ((r"encoder/(.*)", r"\1"), (r"pooler/.*", ""))
    weights = read(file, there, rename=rename, skip=("head/.*",))
    assert weights.keys() == {*NAMES} - {"head/kernel", "head/bias"}
    state = state_of()
    fields = with_weights(state, weights)
    assert fields["params"]["head"]["kernel"] is state.params["head"]["kernel"]
    np.testing.assert_array_equal(fields["params"]["token"]["embedding"], arrays()["token/embedding"])


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ({"head/kernel": (4, 9)}, {}, r"does not fit the model: head/kernel is \[4, 9\] there and \[4, 6\] here\. Say"),
        ({"head/bias": None}, {}, r"does not fit the model: head/bias \[6\] is only here\. Say with init"),
        ({"extra": (2, 3)}, {}, r"the model: extra \[2, 3\] is only there\. Say .* or with init\.skip"),
        (
            {"a": (1,), "token/embedding": (5, 4), "b": (2,), "c": (1, 1), "head/bias": (7,), "z": (9,)}, {},
            r"model: a \[1\] is only there, b \[2\] is only there, c \[1, 1\] is only there, head/bias is \[7\] there "
            r"and \[6\] here and 2 more\. Say with",
        ),
        ({}, {"skip": ("head",)}, r"^init\.skip: 'head' matches no array of the model\."),
        ({}, {"rename": (("hed/(.*)", "a"),)}, r"^init\.rename: 'hed/\(\.\*\)' matches no array of the source\."),
        ({}, {"rename": (("head/.*", "a"),)}, r"^init\.rename: with 'head/\.\*' two arrays of the source are called a"),
        ({}, {"rename": (("head/.*", r"\2"),)}, r"^init\.rename: '\\\\2' is no replacement of 'head/\.\*'"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused_by_name(file, shapes, options, message):
    with pytest.raises(Refused, match=message):
        read(file, arrays(shapes), **options)


def test_whole_numbers_are_no_weights(file):
    quantised = {name: array.astype(np.int8) if name == "head/kernel" else array for name, array in arrays().items()}
    with pytest.raises(Refused, match=r"the model: head/kernel is int8 there and float32 here\."):
        read(file, quantised)


def test_a_source_that_cannot_be_read_is_refused(file, tmp_path):
    for source, content, message in (
        (file, None, r"^init\.source='.*weights\.safetensors' cannot be read \(No such file"),
        (file, b"nothing", r"^init\.source='.*weights\.safetensors' cannot be read \(Error while deserializing header"),
        (
            tmp_path,
            None,
            r"^init\.source='.*' is no \.safetensors file and no folder of a run with a whole",
        ),
        (tmp_path / "none", None, r"is no \.safetensors file and no folder of a run"),
    ):
        if content is not None:
            source.write_bytes(content)
        with pytest.raises(Refused, match=message):
            fitting_weights(Init(source=str(source)), state_of(), say=print)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"skip": ("head/.*",)}, r"^init\.rename and init\.skip are of an init\.source, which is None"),
        ({"source": "a", "rename": ("a", "b")}, r"^init\.rename=\('a', 'b'\): give \(pattern, replacement\) pairs"),
        ({"source": "a", "skip": "head"}, r"^init\.skip='head': give a tuple of patterns of paths"),
        ({"source": "a", "skip": ("(head",)}, r"^init: '\(head' is no regular expression: missing \)"),
        ({"sorce": "a"}, r"^config\.init has no option 'sorce' .*Did you mean 'source'\?"),
    ],
)
def test_sections_that_cannot_be_used_are_refused(given, message):
    with pytest.raises(Refused, match=message):
        section("init", given)


@functools.cache
def averaged() -> Experiment:
    model = {"attention": "performer:features=4", "dropout_rate": 0.0}
    return Experiment(**tiny.sections(model=model, mesh={"data": 1}, ema_decay=0.5))


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    tiny.run(averaged(), folder)
    return folder


def started(source: Path, **changes: Any) -> Experiment:
    return tiny.variant(averaged(), init={"source": str(source)}, **changes)


def test_a_run_starts_from_the_average_of_another_and_says_so(source, tmp_path):
    experiment = started(source)
    _, said = tiny.run(experiment, tmp_path)
    assert f"starting from the weights of {source}" in said
    weights = fitting_weights(experiment.init, experiment.abstract_state, say=print)
    kept = Checkpoints(source, keep=2, say=print, read_only=True)
    last = kept.restore(experiment.create_state(0)).state
    kept.close()
    begun = experiment.started_from(experiment.create_state(3), weights)
    for tree, other in ((begun.params, last.average), (begun.average, last.average), (begun.buffers, last.buffers)):
        assert jax.tree.leaves(tree)
        jax.tree.map(np.testing.assert_array_equal, tree, other)
    # All else is that of a run of its own seed before its first step.
    fresh = experiment.create_state(3)
    jax.tree.map(np.testing.assert_array_equal, begun.opt_state, fresh.opt_state)
    assert (begun.key == fresh.key).all()
    assert int(begun.step) == 0
    assert any("buffers/" in path for path in weights)
    first, last_line = tiny.lines(tmp_path)[0], tiny.lines(source)[0]
    assert first["train_loss"] < last_line["train_loss"]


def test_it_goes_on_to_the_bit_without_its_source(source, tmp_path):
    moved = tmp_path / "source"
    source.rename(moved)
    try:
        tiny.run(started(moved), tmp_path / "whole")
        with at_batch(15, kill), pytest.raises(Killed):
            tiny.run(started(moved), tmp_path / "killed")
        experiment = started(moved)
    finally:
        moved.rename(source)
    _, said = tiny.run(experiment, tmp_path / "killed")
    assert "starting from" not in said
    assert final_state(experiment, tmp_path / "killed") == final_state(experiment, tmp_path / "whole")
    with pytest.raises(Refused, match=r"^init\.source='.*source' is no \.safetensors file and no folder of a run"):
        tiny.run(experiment, tmp_path / "fresh")
    assert not (tmp_path / "fresh").exists()


def test_the_checkpoint_is_that_of_the_score(source, tmp_path):
    """The outcome says which that is; of a run that has not ended it is the last."""
    for step in (18, 24):
        folder = tmp_path / str(step)
        shutil.copytree(source, folder)
        outcome = folder / "outcome.json"
        outcome.write_text(outcome.read_text().replace('"score_step": 24', f'"score_step": {step}'))
        kept = Checkpoints(folder, keep=2, say=print, read_only=True)
        average = kept.restore(averaged().create_state(0), step=step).state.average
        kept.close()
        weights = fitting_weights(Init(source=str(folder)), averaged().abstract_state, say=print)
        for keys, leaf in jax.tree_util.tree_leaves_with_path(average):
            np.testing.assert_array_equal(weights[path_of(keys)], leaf)


VOCABULARY = ["<unknown>", "a", "b", "c", "d", "e"]


@pytest.fixture
def vectors(tmp_path) -> Path:
    """Vectors of "b", of "d" and of a word that the vocabulary has not."""
    write_word_vectors(tmp_path / "vectors.txt", ["d", "z", "b"], np.arange(12, dtype=np.float32).reshape(3, 4))
    return tmp_path / "vectors.txt"


def words(init: Init, vocabulary=VOCABULARY, say=lambda line: None) -> Weights:
    return fitting_weights(init, state_of(), vocabulary=vocabulary, say=say)


def test_words_get_their_vectors_and_the_others_stay_as_drawn(vectors):
    said = []
    weights = words(Init(vectors=str(vectors)), say=said.append)
    assert weights.keys() == {"token/embedding"}
    table = with_weights(state_of(), weights)["params"]["token"]["embedding"]
    expected = np.ones((6, 4))
    expected[4], expected[2] = [0, 1, 2, 3], [8, 9, 10, 11]
    np.testing.assert_array_equal(table, expected)
    assert said == [f"2 of the 6 tokens have a vector in {vectors}"]


def test_words_get_their_vectors_beside_a_source(vectors, file):
    save_file(arrays(), file)
    weights = words(Init(source=str(file), vectors=str(vectors)))
    expected = arrays()["token/embedding"].copy()
    expected[4], expected[2] = [0, 1, 2, 3], [8, 9, 10, 11]
    placed = with_weights(state_of(), weights)["params"]
    np.testing.assert_array_equal(placed["token"]["embedding"], expected)
    np.testing.assert_array_equal(placed["head"]["bias"], arrays()["head/bias"])


@pytest.mark.parametrize(
    ("given", "vocabulary", "message"),
    [
        ({"table": "tokn/embedding"}, VOCABULARY, r"init\.table='tokn/embedding' is no array.*token/embedding"),
        ({"table": "head/kernel"}, VOCABULARY, r"head/kernel' is \[4, 6\], and a row for each of the 6 tokens"),
        ({}, None, "the tokens of this data set are none"),
        ({}, ["v", "w", "x", "y", "u", "t"], "none of the 6 words of the vocabulary, such as 't'"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(vectors, given, vocabulary, message):
    with pytest.raises(Refused, match=message):
        words(Init(vectors=str(vectors), **given), vocabulary)


def test_vectors_of_another_width_are_refused(tmp_path):
    write_word_vectors(tmp_path / "wide.bin", ["a"], np.ones((1, 5)))
    with pytest.raises(Refused, match=r"has 5 dimensions and token/embedding 4: give the model a width of 5"):
        words(Init(vectors=str(tmp_path / "wide.bin")))
