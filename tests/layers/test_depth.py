"""A layer reads those below it: by the papers' equations, scanned or one by one, and in the limits as a plain stack."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import quick_jit
from attention_jax.kernels import Refused
from attention_jax.layers.depth import FirstValues, Sources, first_values, over_depth
from attention_jax.layers.stack_options import OVER_DEPTH
from tests.layers.test_stack import blocks, drawn, shapes, stacked
from tests.oracle import depth
from tests.training.parameters import flat

WIDTH = 8
EMBEDDED = np.random.default_rng(1).normal(size=(2, 5, WIDTH))
# Of three layers the last one tells the first values from those of the layer below.
SMALL = {"num_layers": 3, "hidden": 6, "activation": "relu", "use_bias": ("value",), "dtype": "float64"}
CASES: dict[str, dict[str, Any]] = {
    "fixed": {"value_residual": "fixed"},
    "learned": {"value_residual": "learned"},
    "per token, grouped": {"value_residual": "per_token", "num_kv_heads": 1},
    "over depth": {"residual": OVER_DEPTH},
    "both, recomputed": {"value_residual": "learned", "residual": OVER_DEPTH, "remat": "full"},
}


@functools.cache
def run(name: str) -> Any:
    """The output and the gradient of its sum of squares, blocks one by one and scanned over, and the parameters."""
    options = {**SMALL, **CASES[name]}
    with jax.enable_x64(True):
        one_by_one, scanned = blocks(**options), blocks(**options, scan_layers=True)
        variables = jax.tree.map(lambda array: np.asarray(array, np.float64), drawn(**options))

        def of(model):
            def loss(variables):
                out = model.apply(variables, EMBEDDED)
                return (out**2).sum(), out

            return jax.grad(loss, has_aux=True)

        both = quick_jit(lambda variables: (of(one_by_one)(variables), of(scanned)(stacked(variables))))
        return variables, jax.tree.map(np.asarray, both(variables))


@pytest.mark.parametrize("name", CASES)
def test_a_stack_is_the_equation_of_the_paper(name):
    variables, ((_, out), _) = run(name)
    of_oracle = {key: CASES[name][key] for key in ("value_residual", "residual") if key in CASES[name]}
    for row, embedded in enumerate(EMBEDDED):
        wanted = depth.stack(variables["params"], embedded, **of_oracle)
        np.testing.assert_allclose(out[row], wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_blocks_that_are_scanned_over_give_and_learn_the_same(name):
    _, ((gradients, out), (of_scanned, out_of_scanned)) = run(name)
    np.testing.assert_allclose(out_of_scanned, out, rtol=1e-11, atol=1e-11)
    with jax.enable_x64(True):
        wanted, found = flat(stacked(gradients)), flat(of_scanned)
    assert wanted.keys() == found.keys()
    for path, gradient in wanted.items():
        np.testing.assert_allclose(found[path], gradient, rtol=1e-9, atol=1e-9 * np.abs(gradient).max(), err_msg=path)


@pytest.mark.parametrize("name", [name for name in CASES if name != "fixed"])
def test_gradients_reach_what_is_learned_wherever_there_is_something_to_weigh(name):
    _, ((gradients, _), _) = run(name)
    new = {path: np.abs(array).max() for path, array in flat(gradients).items() if "share" in path or "_depth" in path}
    # The first layer's values and the embedding have nothing beside them.
    moot = {path for path in new if "block_0/attention" in path}
    assert 0 < 3 * len(moot) <= len(new)
    for path, largest in new.items():
        assert (largest < 1e-12) if path in moot else (largest > 1e-3), path


def test_a_stack_that_keeps_all_of_its_own_values_is_the_plain_one():
    options = {"num_layers": 3}
    model, plain = blocks(**options, value_residual="learned"), blocks(**options)
    variables = drawn(**options)
    embedded = jnp.asarray(EMBEDDED, jnp.float32)

    @quick_jit
    def both(share):
        params = {
            name: {**block, "attention": {**block["attention"], "value_residual": {"share": share}}}
            for name, block in variables["params"].items()
        }
        return model.apply({"params": params}, embedded), plain.apply(variables, embedded)

    np.testing.assert_array_equal(*both(jnp.float32(1)))
    mixed, own = both(jnp.float32(0.5))
    assert float(jnp.abs(mixed - own).max()) > 1e-2


def test_layers_of_a_group_share_how_they_read_those_below():
    options = {"num_layers": 2, "value_residual": "learned", "residual": OVER_DEPTH}
    shared, apart = blocks(**options, layer_groups=1), blocks(**options)
    variables = drawn(**options, layer_groups=1)
    group = variables["params"]["block_0"]
    twice = {"params": {**variables["params"], "block_1": group}}
    embedded = jnp.asarray(EMBEDDED, jnp.float32)
    found, wanted = quick_jit(lambda v, w: (shared.apply(v, embedded), apart.apply(w, embedded)))(variables, twice)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("several", [False, True])
def test_the_sources_are_weighed_as_the_paper_says(several):
    rng = np.random.default_rng(2)
    query, sources = rng.normal(size=WIDTH), rng.normal(size=(4, 2, 5, WIDTH)) * [[[[0.1]]], [[[1]]], [[[5]]], [[[2]]]]
    with jax.enable_x64(True):
        if several:
            given = Sources(tuple(jnp.asarray(one)[:, :, None] for one in sources))
        else:
            # A place that is not filled yet is of no weight, whatever it holds.
            buffer = np.full((2, 5, 6, WIDTH), 7.0)
            buffer[:, :, :4] = np.moveaxis(sources, 0, 2)
            given = Sources((jnp.asarray(buffer),), jnp.int32(4))
        found = over_depth(jnp.asarray(query), given, epsilon=1e-5)
        mean = over_depth(jnp.zeros(WIDTH), given, epsilon=1e-5)
    for row in range(2):
        wanted = depth.read(query, list(sources[:, row]))
        np.testing.assert_allclose(found[row], wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(mean, sources.mean(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("several", [False, True])
def test_an_output_is_one_more_source(several):
    first, second = (jnp.full((1, 2, 3), number) for number in (1.0, 2.0))
    if several:
        sources = Sources((first[:, :, None],))
    else:
        sources = Sources((jnp.pad(first[:, :, None], ((0, 0), (0, 0), (0, 2), (0, 0))),), jnp.int32(1))
    mean = over_depth(jnp.zeros(3), sources + second + second, epsilon=1e-5)
    np.testing.assert_allclose(mean, 5 / 3, rtol=1e-6)


def test_sources_are_weighed_in_float32_and_read_in_their_own_dtype():
    wide = np.random.default_rng(3).normal(size=(3, 1, 2, 1, 64))
    query = jnp.asarray(np.random.default_rng(4).normal(size=64), jnp.float32)
    half = Sources(tuple(jnp.asarray(one, jnp.bfloat16) for one in wide))
    found = over_depth(query, half, epsilon=1e-5)
    assert found.dtype == jnp.bfloat16
    exact = [np.asarray(one[0, :, 0], np.float64) for one in half.outputs]
    # A rounding of the result, and none of the sums of 64 that the softmax takes.
    np.testing.assert_allclose(np.asarray(found[0], np.float64), depth.read(np.asarray(query), exact), rtol=2**-8)


def test_the_first_values_are_those_of_the_first_layer():
    mine, theirs = jnp.ones((1, 2, 1, 3)), jnp.full((1, 2, 1, 3), 2.0)
    for below, wanted in (
        (None, mine),
        (FirstValues(jnp.zeros_like(mine), jnp.asarray(False)), mine),
        (FirstValues(theirs, jnp.asarray(True)), theirs),
    ):
        found = first_values(mine, below)
        np.testing.assert_array_equal(found.values, wanted)
        assert found.made


@pytest.mark.parametrize("attention", ["mla", ("scaled_dot", "aft")])
def test_a_mixer_without_such_values_is_refused(attention):
    name = attention if isinstance(attention, str) else attention[1]
    model = blocks(attention=attention, value_residual="learned", engine=None)
    with pytest.raises(
        Refused, match=rf"^attention {name} does not take model\.value_residual='learned': leave it out"
    ):
        shapes(model)
