"""The line on a run's speed says what is not known and what is not all."""

from dataclasses import replace

import pytest

from attention_jax.training.run.outcome import Outcome, describe_speed

OUTCOME = Outcome(
    metric="test_loss",
    score=1.0,
    score_step=8,
    steps=8,
    skipped=0,
    parameters=10,
    train_seconds=2.0,
    compile_seconds=3.0,
    ms_per_step=250.0,
    ms_per_step_spread=None,
    examples_per_second=32.0,
    tokens_per_second=12345.0,
    flops_per_step=4.56e9,
    flops_complete=True,
    mfu=0.4321,
    input_share=0.021,
    peak_bytes=10,
    decode_bytes=None,
)


@pytest.mark.parametrize(
    ("changes", "padded", "said"),
    [
        ({}, False, "12.3k tokens/s, 4.56G FLOP a step, MFU 43.2% of a product of matrices measured here, 2.1% of "),
        ({}, True, "12.3k tokens/s with padding, 4.56G FLOP a step, "),
        ({"tokens_per_second": None}, False, "32 examples/s, 4.56G FLOP a step, "),
        ({"flops_complete": False}, False, "12.3k tokens/s, at least 4.56G FLOP a step, MFU at least 43.2% of "),
        ({"mfu": None}, False, "12.3k tokens/s, 4.56G FLOP a step, MFU not known for this device, 2.1% of the time "),
    ],
)
def test_the_speed_of_a_run_in_a_line(changes, padded, said):
    line = describe_speed(replace(OUTCOME, **changes), padded=padded)
    assert line.startswith(said)
    assert line.endswith("2.1% of the time waiting for data")
