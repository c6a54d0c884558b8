"""Schedules against their formulas, and what they refuse."""

import math

import numpy as np
import optax
import pytest

from attention_jax.kernels import Refused
from attention_jax.training.optimizer import build_optimizer

PEAK, STEPS, WARMUP, FINAL = 0.5, 20, 5, 0.1
# Of 20 steps, the last 8.
DECAY, DECAY_STEPS = 0.4, 8


def along(step: int) -> float:
    """Returns which share of the way from the end of the warm-up to the last step is behind."""
    return (step - WARMUP) / (STEPS - WARMUP)


def into_decay(step: int) -> float:
    """Returns which share of wsd's decay is behind."""
    return max(0, step - (STEPS - DECAY_STEPS)) / DECAY_STEPS


FORMULAS = {
    "constant": lambda step: 1.0,
    "warmup_linear": lambda step: 1 - (1 - FINAL) * along(step),
    "warmup_cosine": lambda step: FINAL + (1 - FINAL) * (1 + math.cos(math.pi * along(step))) / 2,
    "rsqrt": lambda step: math.sqrt(WARMUP / step),
    "wsd": lambda step: FINAL + (1 - FINAL) * (1 - math.sqrt(into_decay(step))),
    "wsd linear": lambda step: FINAL + (1 - FINAL) * (1 - into_decay(step)),
}
ENDING = {"final_fraction": FINAL}
OPTIONS = {
    "constant": {},
    "warmup_linear": ENDING,
    "warmup_cosine": ENDING,
    "rsqrt": {},
    "wsd": {**ENDING, "decay_fraction": DECAY},
    "wsd linear": {**ENDING, "decay_fraction": DECAY, "decay": "linear"},
}


def rate(name: str, **options) -> optax.Schedule:
    return build_optimizer(steps=STEPS, learning_rate=PEAK, schedule={"name": name, **options})[1]


@pytest.mark.parametrize("name", FORMULAS)
def test_schedules_are_their_formulas(name):
    schedule = rate(name.split()[0], warmup_steps=WARMUP, **OPTIONS[name])
    # rsqrt has no step 0: it starts as if at step 1.
    warmup = [PEAK * max(step, name == "rsqrt") / WARMUP for step in range(WARMUP)]
    after = [PEAK * FORMULAS[name](step) for step in range(WARMUP, STEPS + 1)]
    assert after[0] == PEAK
    np.testing.assert_allclose([schedule(step) for step in range(STEPS + 1)], warmup + after, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["constant", "warmup_linear", "warmup_cosine", "wsd"])
def test_without_warmup_the_first_step_has_the_whole_rate(name):
    assert float(rate(name)(0)) == PEAK


@pytest.mark.parametrize("name", ["warmup_linear", "warmup_cosine", "wsd"])
def test_the_default_end_is_zero(name):
    assert float(rate(name)(STEPS)) == pytest.approx(0, abs=1e-8)


def test_wsd_may_decay_from_the_end_of_its_warmup():
    schedule = rate("wsd", warmup_steps=WARMUP, decay_fraction=0.75, decay="linear")
    np.testing.assert_allclose([schedule(step) for step in (4, 5, 20)], [PEAK * 4 / 5, PEAK, 0], atol=1e-8)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"name": "cosine"}, r"^there is no learning-rate schedule 'cosine'\. Did you mean 'warmup_cosine'\?$"),
        ({"warmup": 3}, r"schedule 'warmup_cosine' has no option 'warmup' .*'warmup_steps'\?"),
        ({"name": "rsqrt", "final_fraction": 0.1}, r"'rsqrt' has no option 'final_fraction'"),
        ({"name": "rsqrt", "warmup_steps": 0}, r"warmup_steps=0: rsqrt falls from its warm-up"),
        ({"warmup_steps": 20}, r"^optimizer\.schedule\.warmup_steps=20 is not in 0 to 19: the run has 20 steps"),
        ({"name": "warmup_linear", "warmup_steps": -1}, r"warmup_steps=-1 is not in 0 to 19"),
        ({"name": "constant", "warmup_steps": -1}, r"warmup_steps=-1 is not in 0 to 19"),
        ({"name": "wsd", "warmup_steps": 20}, r"warmup_steps=20 is not in 0 to 19"),
        (
            {"name": "wsd", "decay": "sqrt"},
            r"^optimizer\.schedule\.decay='sqrt': there is no such decay\. There is: linear, one_m",
        ),
        ({"name": "wsd", "decay_fraction": 0.01}, r"decay_fraction=0\.01 is 0 of 20 steps, .* 1 to 20 of them\.$"),
        (
            {"name": "wsd", "decay_fraction": 0.5, "warmup_steps": 11},
            r"^optimizer\.schedule\.decay_fraction=0\.5 is 10 of 20 steps, and 9 follow the warm-up: give a share that",
        ),
        ({"final_fraction": 1.5}, r"^optimizer\.schedule\.final_fraction=1\.5: give the share of learning_rate, in "),
        ({"name": "warmup_linear", "final_fraction": -0.1}, r"final_fraction=-0\.1: give the share"),
        ({"name": "wsd", "final_fraction": -0.1}, r"final_fraction=-0\.1: give the share"),
    ],
)
def test_what_cannot_be_used_is_refused(schedule, message):
    with pytest.raises(Refused, match=message):
        build_optimizer(steps=STEPS, schedule=schedule)
