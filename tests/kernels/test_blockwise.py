"""The blockwise and the gather engine: as near to float64 as the dense one is, whatever is asked and however it is cut.

Memory, tracing and what is refused are of the blockwise engine; the gather engine runs the same loops.
"""

import itertools
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from attention_jax.contract.cases import AGREEMENT, GRADIENT_AGREEMENT, error, make, quick_jit, run, same_bits
from attention_jax.kernels import Causal, Padding, Refused, attend, lookup
from attention_jax.kernels.mask_algebra import Axis
from tests.kernels.random_problems import TREES, Case, problem, solved, tiles, too_far

FILE = Path(__file__).with_name("own_attention.py")
SPECS = ["scaled_dot", "scaled_dot:scale=0.3", "cosine", "additive:hidden=3", "general", "sliding_window:window=6"]
EVERYTHING = Case(mask=("&", "causal", "segments"), bias=(True, True, True, True), score_mod=True, dropout_rate=0.3)
CAUSAL = Case(mask="causal")

CASES = st.builds(
    Case,
    spec=st.sampled_from(SPECS),
    mask=TREES | st.none(),
    length=st.sampled_from([(33, 40), (7, 7), (7, 129), (129, 7), (129, 129), (1, 7), (7, 1), (1, 1)]),
    heads=st.sampled_from([(4, 2), (2, 1), (3, 3)]),
    value_width=st.sampled_from([5, 8, 1]),
    dtype=st.sampled_from(["float32", "bfloat16", "float64"]),
    tiles=st.tuples(st.sampled_from([16, 64]), st.sampled_from([3, 16, 512]), st.sampled_from([6, 16])),
    bias=st.sampled_from([None, (True,) * 4, (False, True, False, True), (True, False, True, False)]),
    score_mod=st.booleans(),
    dropout_rate=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 9),
)
GATHERED = st.builds(lambda case, tree: replace(case, engine="gather", mask=("&", "blocks", tree)), CASES, TREES)


RANDOM = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@settings(RANDOM, max_examples=4)
@given(case=CASES | GATHERED)
def test_any_problem_is_solved_as_near_to_float64_as_by_the_dense_engine(case):
    assert not too_far(case)


@pytest.mark.long
@settings(RANDOM, max_examples=16)
@given(case=CASES | GATHERED)
def test_any_of_many_problems_is(case):
    assert not too_far(case)


@pytest.mark.parametrize(
    "case",
    [
        EVERYTHING,
        replace(EVERYTHING, dtype="bfloat16", spec="cosine"),
        replace(EVERYTHING, dtype="float64", spec="additive:hidden=3"),
        replace(EVERYTHING, engine="gather", mask=("&", "blocks", "causal")),
        replace(CAUSAL, dtype="bfloat16", length=(129, 129)),
        replace(CAUSAL, length=(7, 129), heads=(3, 3), spec="general"),
        Case(mask=("|", ("&", "causal", "window"), "global"), length=(129, 129), heads=(2, 1)),
    ],
    ids=lambda case: case.words,
)
def test_these_problems_are(case):
    assert not too_far(case)


def test_how_it_is_cut_changes_nothing_but_the_rounding():
    drawn = problem(EVERYTHING)
    fine, coarse = (
        solved(drawn.given, drawn.fixed, case=replace(EVERYTHING, tiles=sizes)) for sizes in ((16, 5, 9), (512, 512, 9))
    )
    assert error(fine["out"], coarse["out"]) < AGREEMENT
    some = np.isfinite(coarse["lse"])
    np.testing.assert_array_equal(np.isfinite(fine["lse"]), some)
    assert error(fine["lse"][some], coarse["lse"][some]) < AGREEMENT
    for left, right in zip(*(jax.tree.leaves(result["gradients"]) for result in (fine, coarse)), strict=True):
        assert error(left, right) < GRADIENT_AGREEMENT


@pytest.mark.parametrize(
    "case",
    [EVERYTHING, replace(EVERYTHING, engine="gather", mask=("&", "blocks", "causal"))],
    ids=["blockwise", "gather"],
)
def test_two_runs_give_the_same_bits(case):
    drawn = problem(case)
    first, second = (solved(drawn.given, drawn.fixed, case=case) for _ in range(2))
    assert same_bits(first, second)


def test_vmap_of_remat_in_a_scan_gives_the_plain_values():
    cases = [replace(EVERYTHING, seed=seed) for seed in range(4)]
    drawn = [problem(case) for case in cases]
    stacked = jax.tree.map(
        lambda *leaves: jnp.stack(leaves).reshape(2, 2, *leaves[0].shape), *((one.given, one.fixed) for one in drawn)
    )

    @jax.checkpoint
    def total(given, fixed):
        with tiles(*EVERYTHING.tiles):
            result = run(
                "scaled_dot", given["inputs"], engine="blockwise", mask=fixed["mask"], bias=given["bias"],
                score_mod=lambda score, b, h, i, j: 1.25 * score + given["table"][h, (i - j + fixed["shift"][b]) % 32],
                outputs=("out", "lse"), rng=jax.random.key(0), dropout_rate=EVERYTHING.dropout_rate,
            )  # fmt: skip
        return (result.out * fixed["out"]).sum() + (result.lse * fixed["lse"]).sum()

    @quick_jit
    def scanned(stacked):
        return jax.lax.scan(lambda carry, both: (carry, jax.vmap(jax.grad(total))(*both)), 0, stacked)[1]

    gradients = scanned(stacked)
    for number, one in enumerate(drawn):
        # The key of dropout is that of the seed of the case.
        plain = solved(one.given, one.fixed, case=replace(EVERYTHING, seed=0))["gradients"]
        for left, right in zip(jax.tree.leaves(gradients), jax.tree.leaves(plain), strict=True):
            assert error(left[number // 2, number % 2], right) < GRADIENT_AGREEMENT


def nearer(score, batch, head, query, key):
    return score - 0.1 * (query - key)


def test_equal_shapes_are_traced_once_with_and_without_jit():
    spec = f"{FILE}:counted"
    counter = lookup(spec).mechanism.pairwise

    def plain(inputs, mask):
        return run(spec, inputs, mask=mask, engine="blockwise").out

    def with_score_mod(inputs, mask):
        return run(spec, inputs, mask=mask, engine="blockwise", score_mod=nearer).out

    compiled = jax.jit(plain)
    for call in (compiled, plain, with_score_mod):
        traces = []
        for seed, lengths in enumerate(([7, 7], [4, 6], [3, 1])):
            call(make(spec, seed=seed), Causal() & Padding(jnp.asarray(lengths)))
            traces.append(counter.traces)
        assert traces[0] == traces[1] == traces[2]
    assert counter.traces > 1
    assert compiled._cache_size() == 1


def test_a_score_function_may_hide_keys_and_a_row_that_it_leaves_none_is_zero():
    inputs = make("scaled_dot", queries=23)

    @quick_jit
    def both(inputs):
        def total(inputs, **arguments):
            with tiles(16, 5, 9):
                result = run("scaled_dot", inputs, engine="blockwise", outputs=("out", "lse"), **arguments)
            return jnp.sum(result.out**2), result

        hide = lambda score, b, h, i, j: jnp.where((j <= i) & (i != 3), score, -jnp.inf)  # noqa: E731
        seen = np.tri(23, dtype=bool) & (np.arange(23) != 3)[:, None]
        return [
            jax.value_and_grad(total, has_aux=True)(inputs, **arguments)
            for arguments in ({"score_mod": hide}, {"mask": jnp.asarray(seen)})
        ]

    ((_, hidden), of_hidden), ((_, masked), of_masked) = both(inputs)
    assert (np.asarray(hidden.out)[:, 3] == 0).all()
    np.testing.assert_array_equal(hidden.lse == -np.inf, masked.lse == -np.inf)
    assert error(hidden.out, masked.out) < AGREEMENT
    for left, right in zip(jax.tree.leaves(of_hidden), jax.tree.leaves(of_masked), strict=True):
        assert error(left, right) < GRADIENT_AGREEMENT


@pytest.mark.parametrize(
    ("score_mod", "returned"),
    [
        (lambda score, b, h, i, j: jnp.stack([score, score]), r"\(\(2,\), dtype\('float32'\)\)"),
        (lambda score, b, h, i, j: i - j, r"\(\(\), dtype\('int32'\)\)"),
        (lambda score, b, h, i, j: (score, score), r"\[.*, .*\]"),
    ],
)
def test_a_score_function_that_does_not_return_one_score_is_refused(score_mod, returned):
    with pytest.raises(Refused, match=rf"score_mod returns .*{returned}.* for one score: write it for one pair"):
        run("scaled_dot", make("scaled_dot"), score_mod=score_mod, engine="blockwise")


@pytest.mark.parametrize("engine", ["blockwise", "gather"])
def test_a_row_that_sees_nan_is_nan_and_others_feel_nothing_of_it_whatever_tile_it_is_in(engine):
    case = Case(engine=engine, mask=("&", "causal", "blocks"), seed=1)
    drawn, token = problem(case), 9
    sees = np.asarray(drawn.fixed["mask"].visible(*axes(23)))[..., token] & np.ones((2, 4, 1), bool)
    fixed = drawn.fixed | {
        "out": jnp.where(sees.swapaxes(1, 2)[..., None], 0, drawn.fixed["out"]),
        "lse": jnp.where(sees, 0, drawn.fixed["lse"]),
    }
    clean = solved(drawn.given, fixed, case=case)
    inputs = drawn.given["inputs"]
    bad = inputs._replace(key=inputs.key.at[:, token].set(jnp.nan), value=inputs.value.at[:, token].set(jnp.inf))
    poisoned = solved(drawn.given | {"inputs": bad}, fixed, case=case)
    assert sees.any()
    np.testing.assert_array_equal(np.isnan(poisoned["lse"]), sees)
    np.testing.assert_array_equal(np.isnan(poisoned["out"]).all(-1), sees.swapaxes(1, 2))
    assert same_bits(np.asarray(poisoned["out"])[~sees.swapaxes(1, 2)], np.asarray(clean["out"])[~sees.swapaxes(1, 2)])
    assert same_bits(poisoned["gradients"], clean["gradients"])


def axes(length):
    index = jnp.arange(length)
    return (Axis(index, index[None]),) * 2


@pytest.mark.parametrize(
    ("spec", "arguments", "said"),
    [
        ("scaled_dot", {"outputs": ("out", "weights")}, "it never holds all weights"),
        ("linear", {"mask": Causal()}, "it is for a softmax over scores"),
        ("retention", {"mask": Causal()}, "it is for a softmax over scores"),
    ],
)
def test_what_it_cannot_do_it_refuses_by_name(spec, arguments, said):
    with pytest.raises(Refused, match=f"engine blockwise cannot run {spec} here: {said}"):
        run(spec, make(spec), engine="blockwise", **arguments)


def temporary_bytes(tokens):
    """What compiled forward and backward need beside inputs and outputs, and the bytes of all of these."""
    array = jax.ShapeDtypeStruct((1, tokens, 8, 64), jnp.float32)

    def causal(*arrays):
        return attend(*arrays, mask=Causal(), engine="blockwise").out

    def out_and_gradients(query, key, value, of_out):
        out, pullback = jax.vjp(causal, query, key, value)
        return out, pullback(of_out)

    compiled = quick_jit(out_and_gradients).lower(array, array, array, array).compile()
    return compiled.memory_analysis().temp_size_in_bytes, 8 * array.size * 4


def test_memory_grows_no_faster_than_the_tokens_and_is_soon_a_tenth_of_that_of_the_arrays():
    needed, arrays = zip(*(temporary_bytes(tokens) for tokens in (4096, 16384, 65536)), strict=True)
    assert all(later <= 4.4 * earlier for earlier, later in itertools.pairwise(needed)), needed
    assert needed[0] <= arrays[0], (needed, arrays)
    assert all(10 * ours <= theirs for ours, theirs in zip(needed[1:], arrays[1:], strict=True)), (needed, arrays)


def test_it_has_no_forward_mode_and_says_so_where_the_dense_engine_has_it():
    inputs = make("scaled_dot")
    tangent = jnp.ones_like(inputs.value)

    def out(value, engine):
        return run("scaled_dot", inputs._replace(value=value), engine=engine).out

    for call in (out, jax.jit(out, static_argnums=1)):
        with pytest.raises(
            Refused, match=r"blockwise.* no forward-mode derivative .*: take grad, .* or name engine='dense'"
        ):
            jax.jvp(lambda value, call=call: call(value, "blockwise"), (inputs.value,), (tangent,))
    _, along = jax.jvp(lambda value: out(value, "dense"), (inputs.value,), (tangent,))
    np.testing.assert_allclose(along, 1, rtol=1e-6)


def test_it_has_no_second_derivative_in_reverse_mode_and_says_so_but_one_in_forward_mode():
    inputs = make("scaled_dot")

    def total(query):
        return (run("scaled_dot", inputs._replace(query=query), engine="blockwise").out ** 2).sum()

    def slope(query):
        return jax.grad(total)(query).sum()

    with pytest.raises(Refused, match=r"no second derivative in reverse mode .*: take it in forward mode"):
        jax.grad(slope)(inputs.query)
    _, along = jax.jvp(jax.grad(total), (inputs.query,), (inputs.query,))
    assert np.isfinite(along).all()
