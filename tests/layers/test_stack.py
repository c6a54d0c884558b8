"""The stack of blocks: recomputing and scanning change the memory and the program, and never the result."""

import functools
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from attention_jax.contract.cases import quick_jit
from attention_jax.kernels import Causal, Refused
from attention_jax.layers import Seen, Stack, StackOptions
from attention_jax.layers.stack_options import REMAT
from tests.training.parameters import flat

EMBEDDED = jnp.asarray(np.random.default_rng(0).normal(size=(4, 32, 8)), jnp.float32)
KEYS = {"dropout": jax.random.key(1)}


class Blocks(nn.Module):
    """The blocks alone."""

    options: StackOptions

    @nn.compact
    def __call__(self, embedded: Array, *, deterministic: bool = True) -> Array:
        stack = Stack(self.options)
        nn.share_scope(self, stack)
        return stack(embedded, Seen(Causal()), deterministic=deterministic).hidden


def blocks(**options: Any) -> Blocks:
    sizes = {"num_layers": 2, "num_heads": 2, "width": 8, "dropout_rate": 0.1, "init_stddev": 0.3, "positions": "none"}
    return Blocks(StackOptions(**{**sizes, "use_bias": False, "engine": "dense", **options}))


def shapes(model: Blocks) -> Any:
    return jax.eval_shape(lambda: model.init(jax.random.key(0), EMBEDDED))


@functools.cache
def drawn(**options: Any) -> Any:
    """Variables that are normal numbers, which need no compilation."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes(blocks(**options)))


@functools.cache
def lowered(*, remat: str | None, scan_layers: bool) -> Any:
    """The loss with dropout and its gradient, of enough scanned blocks to see what is kept of each."""
    model = blocks(remat=remat, scan_layers=scan_layers, num_layers=6 if scan_layers else 2)

    def loss(variables: Any) -> Array:
        return (model.apply(variables, EMBEDDED, deterministic=False, rngs=KEYS) ** 2).mean()

    return quick_jit(jax.value_and_grad(loss)).lower(shapes(model))


@functools.cache
def trained(*, remat: str | None, scan_layers: bool) -> Any:
    return lowered(remat=remat, scan_layers=scan_layers).compile()


def stacked(variables: Any) -> Any:
    """The variables of blocks one by one, as those of blocks that are scanned over."""

    def together(collection: dict[str, Any]) -> dict[str, Any]:
        layers = sorted(name for name in collection if name.startswith("block_"))
        others = {name: tree for name, tree in collection.items() if name not in layers}
        of_each = [collection[name] for name in layers]
        return {**others, "blocks": jax.tree.map(lambda *leaves: jnp.stack(leaves), *of_each)}

    return {name: together(collection) for name, collection in variables.items()}


@pytest.mark.parametrize(("remat", "scan_layers"), [*((name, True) for name in REMAT), ("full", False)])
def test_what_is_computed_again_is_what_it_was(remat, scan_layers):
    variables = drawn(scan_layers=scan_layers, num_layers=6 if scan_layers else 2)
    wanted = trained(remat=None, scan_layers=scan_layers)(variables)
    found = trained(remat=remat, scan_layers=scan_layers)(variables)
    for mine, of_plain in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        # In float32; dropout is drawn again too, and another mask would show in the first digit.
        np.testing.assert_allclose(mine, of_plain, rtol=0, atol=5e-6 * np.abs(of_plain).max())
    assert all((np.asarray(leaf) != 0).any() for leaf in jax.tree.leaves(wanted))


def test_each_policy_keeps_less_than_the_one_before():
    def temporaries(remat):
        return trained(remat=remat, scan_layers=True).memory_analysis().temp_size_in_bytes

    assert temporaries("full") < 0.9 * temporaries("dots_no_batch")
    assert temporaries("dots_no_batch") < 0.9 * temporaries("dots") < 0.9 * temporaries(None)
    assert temporaries("full") < 0.4 * temporaries(None)


def test_each_block_by_itself_is_computed_again_where_no_common_part_is_found():
    def barriers(remat):
        return str(lowered(remat=remat, scan_layers=False).as_text()).count("optimization_barrier")

    # One more for each of the 2 blocks; products have theirs.
    assert barriers("full") == barriers(None) + 2


def test_the_program_of_many_scanned_layers_is_that_of_few():
    """So its compilation takes no longer."""

    def operations(num_layers: int) -> int:
        model = blocks(scan_layers=True, num_layers=num_layers)
        gradient = jax.grad(lambda variables: model.apply(variables, EMBEDDED).mean())
        return jax.jit(gradient).lower(shapes(model)).as_text().count("\n")

    assert operations(12) == operations(2)


def test_layers_that_start_apart_are_not_scanned_over():
    with pytest.raises(Refused, match="scan_layers=True makes all layers alike, and differential starts differently"):
        jax.eval_shape(lambda: blocks(attention="differential", scan_layers=True).init(jax.random.key(0), EMBEDDED))
    model = blocks(attention="differential")
    starts = [float(leaf) for leaf in jax.tree.leaves(quick_jit(model.init)(jax.random.key(0), EMBEDDED)["buffers"])]
    np.testing.assert_allclose(sorted(starts), [0.2, 0.8 - 0.6 * np.exp(-0.3)], rtol=1e-6)


def test_blocks_that_are_scanned_over_give_what_they_give_one_by_one():
    options = {"attention": "performer:features=4", "engine": None}
    one_by_one, scanned = blocks(**options), blocks(**options, scan_layers=True)
    variables = drawn(**options)
    wanted = quick_jit(one_by_one.apply)(variables, EMBEDDED)
    found = quick_jit(scanned.apply)(stacked(variables), EMBEDDED)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    # And the layers are drawn apart, what is not trained too; norms alone start alike.
    initial = quick_jit(scanned.init)(jax.random.key(0), EMBEDDED)
    assert jax.tree.map(jnp.shape, initial) == jax.tree.map(jnp.shape, stacked(variables))
    alike = {path for path, leaf in flat(initial).items() if (leaf[0] == leaf[1]).all()}
    assert alike == {path for path in flat(initial) if "norm/" in path}
    assert set(initial) == {"params", "buffers"}


def test_each_scanned_block_has_dropout_of_its_own():
    model = blocks(dropout_rate=0.5, scan_layers=True, use_bias=True)
    # Each half of a block adds 1 wherever it is not dropped, and so 2 after dropout.
    params = jax.tree_util.tree_map_with_path(
        lambda keys, leaf: jnp.full(leaf.shape, float(keys[-2:] == OUT_BIAS)), shapes(model)["params"]
    )
    zeros = jnp.zeros_like(EMBEDDED)
    found = quick_jit(functools.partial(model.apply, deterministic=False))({"params": params}, zeros, rngs=KEYS)
    counts = np.bincount(np.asarray(found).astype(int).ravel() // 2, minlength=5)
    # Four coins; two pairs of equal ones would give 0, 2 and 4 alone.
    np.testing.assert_allclose(counts / counts.sum(), np.array([1, 4, 6, 4, 1]) / 16, atol=0.06)


OUT_BIAS = (jax.tree_util.DictKey("out"), jax.tree_util.DictKey("bias"))


@pytest.mark.parametrize("remat", [None, "full"])
def test_the_program_does_not_grow_with_the_layers_that_are_scanned_over(remat):
    def length(**options):
        model = blocks(remat=remat, **options)
        gradient = jax.grad(lambda variables: model.apply(variables, EMBEDDED).sum())
        return len(jax.jit(gradient).lower(shapes(model)).as_text())

    assert length(num_layers=8, scan_layers=True) < 1.01 * length(num_layers=2, scan_layers=True)
    assert length(num_layers=4) > 1.5 * length(num_layers=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": ("linear", "scaled_dot")}, "model.attention=('linear', 'scaled_dot') makes them differ"),
        ({"first_norm": False}, "model.first_norm=False makes them differ"),
        ({"layer_groups": 1}, "model.layer_groups=1 makes them differ"),
    ],
)
def test_layers_that_differ_are_not_scanned_over(options, message):
    with pytest.raises(Refused, match=re.escape(message)):
        shapes(blocks(**options, scan_layers=True))


def test_layers_of_a_group_share_their_parameters():
    shared = blocks(layer_groups=1, dropout_rate=0.0)
    variables = drawn(layer_groups=1)
    assert set(variables["params"]) == {"block_0"}
    twice = {"params": dict.fromkeys(("block_0", "block_1"), variables["params"]["block_0"])}
    wanted = quick_jit(blocks(dropout_rate=0.0).apply)(twice, EMBEDDED)
    np.testing.assert_array_equal(quick_jit(shared.apply)(variables, EMBEDDED), wanted)


def test_layers_share_the_arrays_of_a_position_encoding():
    options = {"positions": "t5:buckets=8", "dropout_rate": 0.0}
    shared, apart = blocks(**options, shared_positions=True), blocks(**options)
    variables = drawn(**options, shared_positions=True)
    params = dict(variables["params"])
    table = params.pop("shared_position_table")
    of_each = {
        name: {**block, "attention": {**block["attention"], "variant_position_table": table}}
        for name, block in params.items()
    }
    wanted = quick_jit(apart.apply)({"params": of_each}, EMBEDDED)
    np.testing.assert_array_equal(quick_jit(shared.apply)(variables, EMBEDDED), wanted)
    without = quick_jit(blocks(dropout_rate=0.0).apply)({"params": params}, EMBEDDED)
    assert float(jnp.abs(wanted - without).max()) > 1e-2
