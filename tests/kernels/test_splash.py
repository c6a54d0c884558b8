"""The splash engine, in Pallas's interpret mode against the dense engine, and in the program compiled for a TPU."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, like_output, make, quick_jit
from attention_jax.kernels import (
    Causal,
    Global,
    Padding,
    Refused,
    Segments,
    Window,
    attend,
    explain,
)
from attention_jax.kernels.checks import checked
from attention_jax.kernels.engines import ENGINES, dense, platform, splash
from attention_jax.kernels.engines.engine import Engine

TOKENS = 256
SHAPES = {"queries": TOKENS, "heads": 2, "width": 64, "value_width": 64}
RNG = np.random.default_rng(0)
REAL = Padding(RNG.random((2, TOKENS)) < 0.3)
IDS = np.sort(RNG.integers(-2, 3, (2, TOKENS)))
# Some queries' segments have no key, and the ids reach both ends of int32.
APART = Segments(np.where(IDS == 1, 2**31 - 1, IDS), np.where(IDS == 0, -(2**31), IDS))
MASKS = {
    "none": None,
    "causal": Causal(),
    "causal&window": Causal() & Window(150),
    "window": Window(40),
    "lengths": Padding(np.array([200, 0])),
    "causal&padding": Causal() & REAL,
    "causal&segments": Causal() & Segments(IDS),
    "all": Window(100) & REAL & APART & Padding(np.array([TOKENS, 180])),
}


@pytest.fixture
def tpu(monkeypatch):
    monkeypatch.setattr(platform, "name", lambda: "tpu")
    monkeypatch.setattr(platform, "split_by_compiler", lambda: False)


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch):
    monkeypatch.setattr(splash, "BLOCKS", (128,))


interpreted = functools.partial(splash.run, interpret=True)


@functools.partial(quick_jit, static_argnames=("run", "spec"))
def out_and_gradients(run, inputs, mask, weighing, spec="scaled_dot"):
    def out(query, key, value, params):
        return run(checked(query, key, value, variant=spec, params=params, mask=mask)).out

    result, pullback = jax.vjp(out, *inputs[:3], inputs.params)
    return result, pullback(weighing)


def assert_as_dense(inputs, mask, **arguments):
    """Its distance to float64 is at most twice that of the dense engine in its dtype, three times for gradients."""
    weighing = np.asarray(jnp.asarray(like_output(inputs), inputs.query.dtype), np.float64)

    def leaves(run, dtype):
        case = jax.tree.map(lambda array: jnp.asarray(array, dtype), inputs)
        return jax.tree.leaves(out_and_gradients(run, case, mask, jnp.asarray(weighing, dtype), **arguments))

    ours, of_dense = (leaves(run, inputs.query.dtype) for run in (interpreted, dense.run))
    with jax.enable_x64(True):
        truth = leaves(dense.run, jnp.float64)
    for i, (left, near, exact) in enumerate(zip(ours, of_dense, truth, strict=True)):
        assert left.dtype == near.dtype
        np.testing.assert_array_equal(np.isnan(left), np.isnan(exact))
        left, near, exact = (np.nan_to_num(np.asarray(array, np.float64)) for array in (left, near, exact))
        assert error(left, exact) < max(AGREEMENT, (3 if i else 2) * error(near, exact))
    return ours[0]


@pytest.mark.parametrize("kind", MASKS)
def test_forward_and_backward_are_those_of_the_dense_engine(kind):
    out = assert_as_dense(make("scaled_dot", **SHAPES), MASKS[kind])
    assert (out[1] == 0).all() == (kind == "lengths")
    # Rows without a key, some of which are in sequences with keys.
    assert bool((out == 0).all((2, 3)).any()) == (kind in ("lengths", "causal&padding", "all"))


@pytest.mark.parametrize("kind", ["causal&segments", "all"])
def test_who_sees_nan_is_nan_and_who_does_not_feels_nothing(kind):
    inputs = make("scaled_dot", **SHAPES)
    query = inputs.query.at[0, 3, 1].set(jnp.nan)
    key = inputs.key.at[0, 9, 0].set(jnp.nan)
    value = inputs.value.at[1, 140, 1].set(-jnp.inf)
    out = assert_as_dense(inputs._replace(query=query, key=key, value=value), MASKS[kind])
    assert np.isnan(out).any()
    assert np.isfinite(out).any()


def test_queries_and_keys_of_different_lengths_and_one_head_of_keys():
    inputs = make("scaled_dot", **SHAPES | {"queries": 128, "keys": 384, "heads": 3, "kv_heads": 1, "value_width": 128})
    assert_as_dense(inputs, Padding(np.array([300, 128])))


@pytest.mark.parametrize("spec", ["cosine", "sliding_window:window=50"])
def test_other_variants_whose_scores_are_dot_products(spec):
    assert_as_dense(make(spec, **SHAPES), Causal(), spec=spec)


def test_a_soft_cap_is_taken_after_the_scale():
    inputs = make("softcap:cap=0.5", **SHAPES)
    out = assert_as_dense(inputs, Causal(), spec="softcap:cap=0.5")
    assert error(out, attend(*inputs[:3], mask=Causal(), engine="dense").out) > 0.1


def test_bfloat16_in_one_block(monkeypatch):
    monkeypatch.setattr(splash, "BLOCKS", (512, 256, 128))
    assert_as_dense(make("scaled_dot", **SHAPES | {"dtype": jnp.bfloat16}), Causal() & Window(150))


@pytest.mark.usefixtures("tpu")
def test_the_program_for_a_tpu_holds_its_kernels():
    inputs = make("scaled_dot", **SHAPES | {"dtype": jnp.bfloat16})

    def forward_and_backward(*arrays, segments):
        out, pullback = jax.vjp(lambda *arrays: attend(*arrays, mask=Causal(), segments=segments).out, *arrays)
        return out, pullback(out)

    for segments, suffix in ((None, ""), (IDS, "_segmented")):
        traced = jax.jit(functools.partial(forward_and_backward, segments=segments)).trace(*inputs[:3])
        program = traced.lower(lowering_platforms=("tpu",)).as_text()
        assert program.count("tpu_custom_call") == 3
        for kernel in (f"fwd{suffix}_residuals", f"dq{suffix}_no_residuals", f"dkv{suffix}_no_residuals"):
            assert f"splash_mha_{kernel}" in program


@pytest.mark.usefixtures("tpu")
def test_it_is_the_first_choice_on_a_tpu_and_says_so():
    candidates = explain(*make("scaled_dot", **SHAPES)[:3], mask=Causal())
    (taken,) = (candidate for candidate in candidates if candidate.taken)
    assert (taken.engine, "on a TPU" in taken.reason) == ("splash", True)


@pytest.mark.parametrize(
    ("shapes", "arguments", "said"),
    [
        ({"queries": 200}, {}, "it takes multiples of 128 tokens, not 200 queries and 200 keys"),
        ({"keys": 129}, {}, "it takes multiples of 128 tokens, not 256 queries and 129 keys"),
        ({"dtype": jnp.float16}, {}, "it takes bfloat16 or float32, not float16"),
        ({"width": 32}, {}, "it takes heads of a width that is a multiple of 64, not 32 and 64"),
        ({"value_width": 5}, {}, "it takes heads of a width that is a multiple of 64, not 64 and 5"),
        ({}, {"mask": Segments(IDS), "segments": IDS}, "it takes one set of segments, not 2"),
        (
            {},
            {"mask": Causal() | Global(1)},
            r"it takes Causal, Window, Padding and Segments joined by &, not \(Causal",
        ),
        ({}, {"outputs": "lse"}, "it returns no lse"),
    ],
)
@pytest.mark.usefixtures("tpu")
def test_what_it_refuses(shapes, arguments, said):
    inputs = make("scaled_dot", **SHAPES | shapes)
    with pytest.raises(Refused, match=f"engine splash cannot run scaled_dot here: {said}"):
        attend(*inputs[:3], engine="splash", **arguments)


def test_it_needs_a_tpu_and_a_program_that_the_compiler_does_not_split(monkeypatch):
    arrays = make("scaled_dot", **SHAPES)[:3]
    with pytest.raises(Refused, match="it needs a TPU, and this is a cpu"):
        attend(*arrays, engine="splash")
    monkeypatch.setattr(platform, "name", lambda: "tpu")
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    with pytest.raises(Refused, match=r"over devices: call attend inside jax\.shard_map\(check_vma=False\)"):
        attend(*arrays, engine="splash")


def test_inside_a_shard_map_that_does_not_check(monkeypatch):
    monkeypatch.setattr(platform, "name", lambda: "tpu")
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    monkeypatch.setitem(ENGINES, "splash", Engine(splash.refusal, interpreted))
    arrays = make("scaled_dot", **SHAPES)[:3]
    mesh, batch = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,)), jax.sharding.PartitionSpec("x")

    def attention(*arrays):
        return attend(*arrays, mask=Causal(), engine="splash").out

    sharded = functools.partial(jax.shard_map, attention, mesh=mesh, in_specs=batch, out_specs=batch)
    out = jax.jit(sharded(check_vma=False))(*arrays)
    assert error(out, attend(*arrays, mask=Causal(), engine="dense").out) < 2 * AGREEMENT
    with pytest.raises(Refused, match=r"does not tell jax\.shard_map .* give it check_vma=False"):
        jax.jit(sharded())(*arrays)
