"""What the kernels of other libraries are asked for: masks taken apart, and what none of them takes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import make
from attention_jax.kernels import Causal, Global, Padding, PrefixLM, Segments, Window
from attention_jax.kernels.checks import checked
from attention_jax.kernels.engines import dense, dot_product
from attention_jax.kernels.engines.dot_product import parts_of
from attention_jax.kernels.problem import Share

LENGTHS = Padding(np.array([3, 5]))
IDS = Segments(np.zeros((2, 7), int))


def problem(spec="scaled_dot", **arguments):
    inputs = make(spec, **arguments.pop("shapes", {}))
    return checked(*inputs[:3], variant=spec, params=inputs.params, **arguments)


@pytest.mark.parametrize(
    ("mask", "left", "right"),
    [
        (None, None, None),
        (Causal(), None, 0),
        (Window(3), 2, 2),
        (Causal() & Window(3), 2, 0),
        (Window(3) & Causal() & Window(2), 1, 0),
        (Window(1), 0, 0),
        (Window(7), None, None),
        (Causal() & Window(8), None, 0),
        (LENGTHS & (Window(6) & IDS), 5, 5),
    ],
)
def test_how_far_a_query_sees_on_either_side(mask, left, right):
    parts = parts_of(mask, keys=7)
    assert (parts.left, parts.right) == (left, right)


def test_the_rules_by_key_and_by_segment_are_set_apart():
    parts = parts_of(LENGTHS & Causal() & IDS, keys=7)
    assert (parts.paddings, parts.segments) == ((LENGTHS,), (IDS,))


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (Causal() | Global(1), "(Causal | Global)"),
        (PrefixLM(2), "PrefixLM"),
        (Causal() & (Window(2) | Global(1)), "(Causal & (Window | Global))"),
        (np.ones((7, 7), bool), "Dense"),
    ],
)
def test_other_masks_are_refused_by_name(mask, said):
    refusal = dot_product.refusal(problem(mask=mask))
    assert refusal == f"it takes Causal, Window, Padding and Segments joined by &, not {said}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"outputs": ("out", "lse")}, "it returns no lse"),
        ({"outputs": ("weights", "lse")}, "it returns no lse, weights"),
        ({"bias": jnp.zeros((7, 7))}, "it takes no bias"),
        ({"score_mod": lambda score, b, h, i, j: score}, "it takes no score_mod"),
        ({"dropout_rate": 0.1, "rng": np.zeros(2, np.uint32)}, "it does not drop weights by their position"),
        ({"positions": jnp.arange(7)[None]}, "it takes tokens in their order in the array, not by positions"),
    ],
)
def test_what_no_such_kernel_takes(arguments, said):
    assert dot_product.refusal(problem(**arguments)) == said
    assert dot_product.refusal(problem()) is None


def test_a_share_of_a_larger_problem_is_refused_since_its_indices_are_not_those_of_the_array():
    share = Share(query=jnp.arange(7, 14), key=jnp.arange(7))
    assert "not one device's share of it" in dot_product.refusal(replace(problem(mask=Causal()), share=share))


@pytest.mark.parametrize("spec", ["additive:hidden=3", "linear"])
def test_scores_that_are_not_dot_products_are_refused(spec):
    assert dot_product.refusal(problem(spec)) == "its scores are not dot products with a scale"


@pytest.mark.parametrize("spec", ["scaled_dot", "scaled_dot:scale=0.5", "cosine", "general", "sliding_window:window=3"])
def test_the_operands_give_the_logits_of_the_dense_engine(spec):
    case = problem(spec)
    query, key, _ = dot_product.operands(case)
    grouped = np.repeat(key, query.shape[2] // key.shape[2], axis=2)
    logits = dot_product.scale_of(case, query) * np.einsum("btnh,bsnh->bnts", query, grouped)
    exponentials = np.exp(logits) * (1 if case.mask is None else case.mask.visible(case.query_axis, case.key_axis))
    weights = dense.run(replace(case, outputs=("weights",))).weights
    np.testing.assert_allclose(exponentials / exponentials.sum(-1, keepdims=True), weights, rtol=1e-4, atol=1e-6)


def test_shapes_are_known_before_anything_is_computed():
    case = problem("cosine", shapes={"dtype": jnp.bfloat16})
    query, _, value = jax.eval_shape(lambda: dot_product.operands(case))
    assert (query.shape, query.dtype) == ((2, 7, 4, 8), jnp.float32)
    assert (value.shape, value.dtype) == ((2, 7, 2, 5), jnp.bfloat16)
