"""Weights laid out for a loop: the same logits and states from matrices and copies; XLA takes no product apart."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from attention_jax import models
from attention_jax.decoding import advance_of, generate, layout
from attention_jax.decoding.layout import laid_out, with_tables
from attention_jax.layers.embeddings import LAID_OUT
from attention_jax.layers.paths import path_of
from tests.decoding.language_models import Table
from tests.layers.arrays import random_variables

SIZES = {"num_layers": 2, "num_heads": 2, "width": 8, "init_stddev": 0.4}
TOKENS = jnp.array([[1, 2, 3], [4, 5, 6]])


def gpt(**options):
    model = models.build("gpt", facts={"vocabulary_size": 11, "length": 6}, **{**SIZES, **options})
    return model, random_variables(model, TOKENS, stddev=0.4)


def shapes(advance):
    leaves = jax.tree_util.tree_leaves_with_path(advance.args[0])
    return {path_of(keys).removeprefix("params/"): leaf.shape for keys, leaf in leaves}


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("options", [{}, {"scan_layers": True}, {"num_kv_heads": 1, "use_bias": True}], ids=str)
def test_the_logits_and_the_state_stay(rows, options):
    model, variables = gpt(**options)
    advance = advance_of(model, variables)

    @jax.jit
    def steps(advance):
        state, found = model.apply(variables, rows, method="start"), []
        for tokens in (TOKENS[:rows], TOKENS[:rows, :1]):
            logits, state = advance(state, tokens, jnp.full(rows, tokens.shape[1]))
            found.append(logits)
        return found, state

    laid = laid_out(advance)
    for one, other in zip(jax.tree.leaves(steps(advance)), jax.tree.leaves(steps(laid)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_kernels_of_heads_become_matrices_and_the_table_gets_a_copy():
    laid = shapes(laid_out(advance_of(*gpt(num_kv_heads=1))))
    assert laid["block_0/attention/query/kernel"] == (8, 8)
    assert laid["block_0/attention/key/kernel"] == (8, 4)
    assert laid["block_1/attention/out/kernel"] == (8, 8)
    assert laid["block_1/feed_forward/out/kernel"] == (32, 8)
    assert laid["token/embedding"] == (11, 8)
    assert laid[f"{LAID_OUT}/token/embedding"] == (8, 11)


def test_what_is_laid_out_is_not_laid_out_again():
    laid = laid_out(advance_of(*gpt()))
    assert laid_out(laid) is laid
    tables = with_tables(advance_of(*gpt()))
    assert with_tables(tables) is tables


@pytest.mark.parametrize(
    "advance", [Table.drawn(0, 3).advance, Partial(Table.drawn(0, 3).advance)], ids=["plain", "partial"]
)
def test_what_is_no_model_with_its_weights_stays(advance):
    assert laid_out(advance) is advance


def test_on_other_devices_the_weights_stay(monkeypatch):
    monkeypatch.setattr(layout.platform, "name", lambda: "tpu")
    advance = advance_of(*gpt())
    assert laid_out(advance) is advance


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="it is of the products of XLA on a CPU")
def test_xla_takes_no_product_of_a_token_apart(monkeypatch):
    """A product inside a loop fusion is element-wise work, and what led to its row is done again for each element."""
    model, variables = gpt()
    state = model.apply(variables, 1, method="start")

    def program(advance, state):
        return generate(advance, state, TOKENS[:1], jnp.array([3]), max_new_tokens=3, end=()).tokens

    def taken_apart():
        compiled = jax.jit(lambda *arguments: program(*arguments)).lower(advance_of(model, variables), state).compile()
        text = compiled.as_text()
        bodies = {found[1]: found[0] for found in re.finditer(r"^(%[\w.]+) \(.*?^}", text, re.M | re.S)}
        return [name for name in re.findall(r"kind=kLoop, calls=(%[\w.]+)", text) if " dot(" in bodies[name]]

    # That of the prompt, which is before the loop.
    assert len(taken_apart()) == 1
    monkeypatch.setattr(layout, "_opened", lambda advance: None)
    # In jax 0.10.1 query, key and value of two layers, in 0.11.2 the logits.
    assert len(taken_apart()) > 1
