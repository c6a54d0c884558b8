"""Tokens spread over eight devices: what one device computes, by the collectives of the method, with the same work."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, GRADIENT_AGREEMENT, make
from attention_jax.kernels import Causal, Refused, Window, attend_sharded, zigzag
from attention_jax.kernels.engines.tiling import TileSizes, tile_lists
from attention_jax.kernels.mask_algebra import Axis
from tests.kernels.sharded_cases import CASES

DEFAULT = [name for name, case in CASES.items() if not case.long]
LONG = [name for name, case in CASES.items() if case.long]
MESH = jax.sharding.AbstractMesh((2, 8), ("sequences", "tokens"))


def measure(cases):
    """What tests/kernels/eight_devices.py prints of the cases."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PYTHONPATH": str(root)}

    command = [sys.executable, "-m", "tests.kernels.eight_devices", *cases]
    process = subprocess.run(
        command, env=environment, cwd=root, capture_output=True, text=True, check=False, timeout=900
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def measured():
    return measure(DEFAULT)


@pytest.fixture(scope="module")
def measured_long():
    return measure(LONG)


def those(cases=DEFAULT, **wanted):
    """The names of the cases that have these values."""
    return [name for name in cases if all(getattr(CASES[name], key) == value for key, value in wanted.items())]


@pytest.mark.parametrize("case", DEFAULT)
def test_eight_devices_compute_what_one_does_forward_and_backward(measured, case):
    check_errors(measured[case])


@pytest.mark.long
@pytest.mark.parametrize("case", LONG)
def test_every_recurrence_travels_by_both_methods_and_other_scores_by_each(measured_long, case):
    check_errors(measured_long[case])
    if CASES[case].softmax is False:
        check_states(measured_long[case]["collectives"], CASES[case])


def check_errors(measured):
    """Holds a case to the tolerance of two float32 results, or to one device's error where it has that beside it."""
    ours, one = measured["ours"], measured.get("one")
    assert len(ours) >= 5
    for name, error in ours.items():
        of_gradient = "gradients" in name
        if one is None:
            assert error < (GRADIENT_AGREEMENT if of_gradient else AGREEMENT), name
        else:
            # A unit of float32 is for where one device happens to be exact.
            assert error <= (3 if of_gradient else 2) * one[name] + 1e-7, (name, one[name])


def dtypes(arrays):
    return {array.partition("[")[0] for array in arrays}


@pytest.mark.parametrize("case", those(method="ring", softmax=True))
def test_a_ring_hands_on_and_gathers_nothing_but_which_tokens_are_not_finite(measured, case):
    found = measured[case]["collectives"]
    assert found["collective-permute"]
    assert dtypes(found["all-gather"]) <= {"pred"}
    assert not found["all-to-all"]
    assert not found["reduce-scatter"]


@pytest.mark.parametrize("case", those(method="all_gather", softmax=True))
def test_all_gather_gathers_keys_and_scatters_their_gradients(measured, case):
    found = measured[case]["collectives"]
    assert "f32" in dtypes(found["all-gather"])
    assert "f32" in dtypes(found["reduce-scatter"])
    assert not found["collective-permute"]
    assert not found["all-to-all"]


@pytest.mark.parametrize("case", those(method="all_to_all"))
def test_all_to_all_trades_and_never_gathers(measured, case):
    found = measured[case]["collectives"]
    assert "f32" in dtypes(found["all-to-all"])
    assert not found["all-gather"]
    assert not found["collective-permute"]


@pytest.mark.parametrize("case", [name for name in those(softmax=False) if CASES[name].method != "all_to_all"])
def test_of_a_recurrence_states_travel_and_nothing_that_grows_with_the_tokens(measured, case):
    check_states(measured[case]["collectives"], CASES[case])


def check_states(found, case):
    """Holds a recurrence to its collectives, and what they carry to sizes without the prime of the tokens."""
    wanted = {"ring": {"collective-permute"}, "all_gather": {"all-gather", "reduce-scatter"}}[case.method]
    floats = {name for name, arrays in found.items() if "f32" in dtypes(arrays)}
    assert floats - {"all-reduce"} == (set() if case.both_ways else wanted)
    assert not case.both_ways or floats == {"all-reduce"}
    sizes = [int(size) for arrays in found.values() for array in arrays for size in re.findall(r"\d+(?=[,\]])", array)]
    assert sizes
    assert all(size % 11 for size in sizes)


def test_zigzag_gives_each_device_a_run_of_the_start_and_its_mirror_of_the_end():
    np.testing.assert_array_equal(zigzag(12, 3), [0, 1, 10, 11, 2, 3, 8, 9, 4, 5, 6, 7])
    np.testing.assert_array_equal(np.argsort(zigzag(12, 3))[zigzag(12, 3)], np.arange(12))
    with pytest.raises(Refused, match="14 tokens do not divide into 8 runs for 4 devices: pad them"):
        zigzag(14, 4)


def tiles_met(order, devices=8, tile=4):
    """How many tiles the queries of each device meet over the whole ring, under a causal mask."""
    axes = [Axis(jnp.asarray(index), jnp.asarray(index)[None]) for index in order.reshape(devices, -1)]
    sizes = TileSizes(tile, tile)
    return [
        sum(int(tile_lists(Causal(), mine, keys, sizes=sizes, kv_heads=1).met.sum()) for keys in axes) for mine in axes
    ]


def test_under_a_causal_mask_zigzag_gives_every_device_the_same_work_and_contiguous_does_not():
    balanced, slanted = tiles_met(zigzag(64, 8)), tiles_met(np.arange(64))
    assert len(set(balanced)) == 1
    assert sum(balanced) == sum(slanted) == 16 * 17 / 2, "what is visible is met, and nothing else"
    assert max(slanted) > 10 * min(slanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "rings"}, r"there is no method 'rings'\. Did you mean 'ring'"),
        ({"order": "zigzags"}, r"there is no order 'zigzags'\. Did you mean 'zigzag'"),
        ({"axis": "token"}, r"the mesh has no axis 'token'; it has 'sequences', 'tokens'"),
        ({"batch_axis": "batch"}, r"the mesh has no axis 'batch'; it has"),
        ({"tokens": 20}, "20 query tokens do not divide among 8 devices: pad them"),
        ({"tokens": (16, 20)}, "20 key tokens do not divide among 8 devices: pad them"),
        ({"tokens": 24, "order": "zigzag"}, "24 tokens do not divide into 16 runs for 8 devices: pad them"),
        ({"batch": 3, "batch_axis": "sequences"}, "3 sequences do not divide among 2 devices"),
        ({"bias": jnp.zeros(32)}, "method ring does not take a bias: write it as a score_mod"),
        ({"outputs": ("weights",)}, r"method ring does not take weights \(outputs\): no device has them all"),
        ({"spec": "linear", "mask": Causal(), "outputs": ("out", "state"), "method": "all_to_all"}, "a state"),
        (
            {"method": "all_to_all", "order": "zigzag", "heads": 8},
            "zig-zag order, since every device has whole sequences",
        ),
        ({"method": "all_to_all"}, "2 key heads on 8 devices, which do not divide them: use ring"),
        (
            {"spec": "linear", "mask": Causal() & Window(2)},
            r"method ring does not take linear here, in the recurrence engine: it takes Causal, Padding and Segments, "
            r"not \(Causal & Window\): use all_to_all",
        ),
        (
            {"spec": "linear", "mask": Causal(), "positions": jnp.arange(32)[None], "method": "all_gather"},
            "method all_gather does not take linear here, in the recurrence engine: it takes tokens in their order",
        ),
        ({"spec": "linear", "mask": Causal(), "outputs": ("out", "state")}, "method ring does not take a state"),
        ({"spec": "linear", "engine": "dense"}, "engine='dense', since it is made of the recurrence one: leave it out"),
        ({"engine": "dense"}, "method ring does not take engine='dense', since it is made of the blockwise one"),
        (
            {"spec": "top_k"},
            "method ring does not take top_k, whose weights are made of all logits of a query: use all_",
        ),
        ({"spec": "gmm"}, "ring does not take gmm, whose weights depend on those of earlier queries: use all_to_all"),
        (
            {"spec": "talking_heads", "method": "all_to_all"},
            "the heads of talking_heads see each other and cannot be on several devices: spread whole sequences, by ",
        ),
        (
            {"spec": "moba:block=4", "mask": Causal()},
            r"method ring does not take moba:block=4, whose part 'moba:block=4 \(the blocks chosen\)' cannot be "
            "spread, since 1 query tokens do not divide among 8 devices: use all_to_all",
        ),
        (
            {"spec": "nsa:length=4,stride=2,block=4", "mask": Causal(), "method": "all_gather"},
            r"whose part '.* \(compressed\)' cannot be spread, since 15 key tokens do not divide among 8 devices: "
            "spread whole sequences, by batch_axis alone",
        ),
        (
            {"spec": "reformer_lsh"},
            r"method ring does not take reformer_lsh, whose part '.* \(chunks of a round\)' cannot be spread, since "
            ".*: use all_to_all",
        ),
        ({"tokens": (16, 32), "mask": Window(2)}, "a mask by position with 16 queries and 32 keys is ambiguous"),
    ],
)
def test_what_cannot_be_spread_is_refused_in_one_line(arguments, message):
    arguments = {"mesh": MESH, "axis": "tokens"} | arguments
    spec, batch, heads = (
        arguments.pop(name, value) for name, value in (("spec", "scaled_dot"), ("batch", 2), ("heads", 4))
    )
    tokens = arguments.pop("tokens", 32)
    queries, keys = tokens if isinstance(tokens, tuple) else (tokens, tokens)
    kv_heads = 8 if heads == 8 else 2
    inputs = make(spec, batch=batch, queries=queries, keys=keys, heads=heads, kv_heads=kv_heads)
    with pytest.raises(Refused, match=message) as refusal:
        attend_sharded(*inputs[:3], variant=spec, params=inputs.params, per_token=inputs.per_token, **arguments)
    assert "\n" not in str(refusal.value)


def test_an_unknown_argument_is_an_error():
    inputs = make("scaled_dot", queries=32)
    with pytest.raises(TypeError, match="causal"):
        attend_sharded(*inputs[:3], mesh=MESH, axis="tokens", causal=True)
