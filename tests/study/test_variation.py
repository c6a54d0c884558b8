"""What varies in a comparison: any key but what decides the measure; aliases train with seeds of their own."""

import re

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.variation import ATTENTION, Choice, Variation, choices
from attention_jax.training import config

DEMO = config.load("experiments/demo.py").benchmarks


def vary(key: str, text: str) -> Variation:
    return Variation(key, choices(key, text), dict(DEMO.items()))


def test_attentions_are_split_at_names_and_not_at_options():
    found = choices(ATTENTION, "scaled_dot,b:=performer:features=64,c:=scaled_dot")
    assert found == (
        Choice("scaled_dot", "scaled_dot"),
        Choice("b:=performer:features=64", "performer:features=64"),
        Choice("c:=scaled_dot", "scaled_dot"),
    )


def test_the_attention_varies_and_nothing_else():
    found = vary(ATTENTION, "scaled_dot,linear").config_of("digits", "linear", 3)
    assert found["model"]["attention"] == "linear"
    plain = config.plain(DEMO.digits)
    assert {**found, "seed": 0, "model": {**found["model"], "attention": plain["model"]["attention"]}} == plain
    assert found["seed"] == 3


def test_any_other_key_varies_with_its_own_type():
    heads = vary("model.num_heads", "1,2")
    assert heads.labels == ("model.num_heads=1", "model.num_heads=2")
    assert [heads.config_of("mqar", label, 0)["model"]["num_heads"] for label in heads.labels] == [1, 2]
    rates = vary("optimizer.learning_rate", "1e-3,fast:=1e-2")
    assert rates.labels == ("optimizer.learning_rate=1e-3", "fast:=optimizer.learning_rate=1e-2")
    assert rates.config_of("mqar", rates.labels[1], 0)["optimizer"]["learning_rate"] == 1e-2


def test_an_alias_of_what_is_there_trains_with_seeds_of_its_own_which_are_always_the_same():
    again = vary(ATTENTION, "a:=scaled_dot,b:=scaled_dot,c:=linear")
    seeds = {label: [again.config_of("digits", label, seed)["seed"] for seed in range(3)] for label in again.labels}
    assert seeds["a:=scaled_dot"] == seeds["c:=linear"] == [0, 1, 2]
    assert len({*seeds["b:=scaled_dot"], 0, 1, 2}) == 6
    assert all(0 <= seed < 2**32 for seed in seeds["b:=scaled_dot"])
    assert seeds == {
        label: [vary(ATTENTION, "a:=scaled_dot,b:=scaled_dot,c:=linear").config_of("digits", label, seed)["seed"]
                for seed in range(3)]
        for label in again.labels
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("data.name", "a,b", "--vary=data.name changes what is measured"),
        ("task.metric", "loss,accuracy", "--vary=task.metric changes what is measured"),
        ("evaluation.every", "1,2", "--vary=evaluation.every changes what is measured"),
        ("seed", "1,2", "--vary=seed: use --seeds instead"),
        ("optimizer.name", "adamw,lion", "--vary=optimizer.name: use a config for each instead"),
        ("model.num_head", "1,2", "has no key 'model.num_head'. Did you mean 'model.num_heads'?"),
        ("model.num_heads", "1,two", "config.model.num_heads=two: it takes int"),
        (ATTENTION, "scaled_dot,linaer", "there is no attention variant 'linaer'"),
        (ATTENTION, "a b:=linear", "variant 'a b:=linear': give NAME:=VALUE"),
        (ATTENTION, "a:=", "variant 'a:=': give NAME:=VALUE"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(key, text, said):
    with pytest.raises(Refused, match=re.escape(said)):
        vary(key, text)
