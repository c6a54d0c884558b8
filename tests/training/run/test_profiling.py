"""A trace holds the steps it was asked for, and the run is as without it."""

import gzip
import json
import re
from pathlib import Path

import pytest

from attention_jax.kernels import Refused
from attention_jax.training import Interrupted
from attention_jax.training.run.profiling import Profile, parse_window
from tests.training import tiny
from tests.training.disturbance import at_batch, terminate


def traced_steps(said: str) -> list[int]:
    """Returns the steps in the trace that a run says it wrote."""
    match = re.search(r"are traced: open (\S+) at https://ui.perfetto.dev, or run xprof --logdir=(\S+)", said)
    assert match is not None
    assert list(Path(match[2]).glob("plugins/profile/*/*.xplane.pb"))
    with gzip.open(match[1]) as file:
        events = json.load(file)["traceEvents"]
    return sorted({int(event["args"]["step_num"]) for event in events if event.get("name") == "train"})


def test_the_steps_of_the_window_are_traced_and_no_byte_is_another(undisturbed, experiment, tmp_path):
    outcome, said = tiny.run(experiment, tmp_path, profile=parse_window("9:12", steps=24))
    assert "steps 9 to 11 are traced" in said
    assert traced_steps(said) == [9, 10, 11]
    assert outcome.score == undisturbed.outcome.score
    assert (tmp_path / "metrics.jsonl").read_bytes() == undisturbed.metrics


def test_a_window_that_a_signal_cuts_short_goes_on_where_the_run_does(experiment, tmp_path):
    with at_batch(3, terminate), pytest.raises(Interrupted):
        tiny.run(experiment, tmp_path, profile=range(2, 6))
    _, said = tiny.run(experiment, tmp_path, profile=range(2, 6))
    assert "the run goes on after step 3, past the start of --profile: steps 4 to 5 are traced\n" in said
    assert traced_steps(said) == [4, 5]
    _, said = tiny.run(experiment, tmp_path, profile=range(2, 6))
    assert "the run goes on after step 24, past the start of --profile: nothing is traced\n" in said
    assert len(list((tmp_path / "profile" / "plugins" / "profile").iterdir())) == 2


def test_a_run_that_ends_before_the_window_says_so(tmp_path):
    said: list[str] = []
    profile = Profile(range(10, 12), tmp_path, after_step=0, say=said.append)
    assert profile.before(9, None) == profile.after(9, None) == 0
    profile.close(9)
    assert said == ["the run ended at step 9, before --profile: nothing was traced"]


@pytest.mark.parametrize(
    ("text", "window"), [("10:15", range(10, 15)), ("1:25", range(1, 25)), ("24:25", range(24, 25))]
)
def test_a_window_is_counted_from_one_without_its_end(text, window):
    assert parse_window(text, steps=24) == window


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10", r"^--profile=10: give FIRST:END, such as 10:15 for steps 10 to 14\.$"),
        ("a:b", r"^--profile=a:b: give FIRST:END"),
        ("-1:4", r"^--profile=-1:4: give FIRST:END"),
        ("0:4", r"^--profile=0:4 has no step: give FIRST:END with FIRST from 1 and END above it\.$"),
        ("4:4", r"^--profile=4:4 has no step"),
        ("9:4", r"^--profile=9:4 has no step"),
        ("20:26", r"^--profile=20:26 goes past the last step, 24: give an END of at most 25\.$"),
    ],
)
def test_a_window_that_cannot_be_is_refused_in_a_line(text, message):
    with pytest.raises(Refused, match=message):
        parse_window(text, steps=24)
