"""The table of measures: every entry builds, and compares what it says."""

import json

import pytest

from attention_jax.bench.cases import UNITS, Case
from attention_jax.bench.measures import GIB, MEASURES, Settings

SETTINGS = Settings(batch=2, tokens=4096, heads=8, width=64, engine="dense")


def built(name, settings=SETTINGS):
    (measure,) = (measure for measure in MEASURES if measure.name == name)
    return list(measure.build(settings))


def test_names_are_unique_and_every_comparison_has_its_own_words():
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)
    words = [comparison.what for measure in MEASURES for comparison in measure.build(SETTINGS)]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_cases_survive_json_and_a_ratio_is_of_one_unit(measure):
    for comparison in measure.build(SETTINGS):
        cases = [comparison.ours, *comparison.peers.values()]
        assert all(Case(**json.loads(json.dumps(case.to_json()))) == case for case in cases)
        assert {UNITS[case.quantity] for case in cases} == {"bytes" if comparison.ratio == "bytes" else "milliseconds"}
        assert comparison.peers or comparison.bound


@pytest.mark.parametrize("name", [measure.name for measure in MEASURES if measure.name not in ("linear", "delta")])
def test_the_engine_that_was_named_is_ours_alone(name):
    for comparison in built(name):
        assert comparison.ours.engine == "dense"
        strangers = [case for case in comparison.peers.values() if case.who != "attention_jax"]
        assert all(case.engine is None for case in strangers)


def test_times_are_of_both_passes_and_both_masks_against_each_peer():
    for name, peers in (("one_device", ["jax.nn", "tokamax", "flax.nnx"]), ("all_cores", ["torch"])):
        comparisons = built(name)
        kinds = {(comparison.ours.backward, comparison.ours.causal) for comparison in comparisons}
        assert len(comparisons) == len(kinds) == 4
        for comparison in comparisons:
            assert [case.who for case in comparison.peers.values()] == peers
            assert {case.shape == comparison.ours.shape for case in comparison.peers.values()} == {True}
    assert {case.process for case in built("all_cores")[0].peers.values()} == {"torch"}


def test_memory_is_beside_the_bytes_of_the_arrays_and_their_gradients():
    comparisons = built("memory")
    assert [comparison.ours.tokens for comparison in comparisons] == [4096, 16384, 65536]
    assert comparisons[0].bound.value == 8 * (2 * 4096 * 8 * 64) * 4
    assert all(comparison.ours.backward for comparison in comparisons)


def test_the_longest_are_a_quarter_of_a_million_and_a_million_tokens_and_one_may_be_run():
    assert [comparison.ours.tokens for comparison in built("longest")] == [262144, 1048576]
    *_, run = built("longest", Settings(run_longest=1000))
    assert (run.ours.tokens, run.ours.quantity, run.bound.value) == (1000, "peak", 24 * GIB)


def test_another_function_is_held_to_the_dense_engine_in_its_first_tokens():
    for comparison in built("linear") + built("window"):
        assert comparison.ours.tokens == 16384
        assert comparison.reference.engine == "dense"
        assert comparison.reference.tokens == comparison.ours.compared >= 2 * (comparison.ours.window or 0)
        assert comparison.reference.variant == comparison.ours.variant
        assert comparison.reference.window == comparison.ours.window
    assert {comparison.ours.window for comparison in built("window")} == {256}


def test_decoding_is_compared_in_the_last_token():
    (comparison,) = built("decode")
    assert comparison.ours.shape["T"] == 1
    assert {case.compared for case in (comparison.ours, *comparison.peers.values())} == {-1}
    assert [case.who for case in comparison.peers.values()] == ["attention_jax", "jax.nn"]


def test_short_sequences_are_of_both_passes_and_three_masks_at_six_lengths():
    comparisons = built("short")
    kinds = {(c.ours.tokens, c.ours.backward, c.ours.causal, c.ours.padded) for c in comparisons}
    assert len(comparisons) == len(kinds) == 36
    assert {case.shape == c.ours.shape for c in comparisons for case in c.peers.values()} == {True}
    (padded,) = {c.ours.lengths for c in comparisons if c.ours.padded and c.ours.tokens == 16}
    assert padded == (16, 15, 14, 13, 12, 11, 10, 9)
