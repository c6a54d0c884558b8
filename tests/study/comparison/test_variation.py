"""What varies in a comparison: any key but what decides the measure; aliases train with seeds of their own."""

import re

import pytest
from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.study.comparison.variation import ATTENTION, PATCHES, Choice, Variation, choices, patches, tuned
from attention_jax.training import config

DEMO = config.load("experiments/demo.py").benchmarks


def vary(key: str, text: str) -> Variation:
    return Variation(key, choices(key, text), dict(DEMO.items()))


def test_attentions_are_split_at_names_and_not_at_options():
    found = choices(ATTENTION, "scaled_dot,b:=performer:features=64,c:=scaled_dot")
    assert found == (
        Choice("scaled_dot", "scaled_dot", "scaled_dot"),
        Choice("b:=performer:features=64", "performer:features=64", "b:=performer:features=64"),
        Choice("c:=scaled_dot", "scaled_dot", "c:=scaled_dot"),
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
    assert [heads.config_of("recall", label, 0)["model"]["num_heads"] for label in heads.labels] == [1, 2]
    rates = vary("optimizer.learning_rate", "1e-3,fast:=1e-2")
    assert rates.labels == ("optimizer.learning_rate=1e-3", "fast:=optimizer.learning_rate=1e-2")
    assert rates.config_of("recall", rates.labels[1], 0)["optimizer"]["learning_rate"] == 1e-2


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
        (PATCHES, "wide", "variant 'wide': a patch is NAME:=KEY=VALUE KEY=VALUE"),
        (PATCHES, "a b:=model.width=8", "a patch is NAME:=KEY=VALUE"),
        (PATCHES, "wide:=model.width", "a patch is NAME:=KEY=VALUE"),
        (PATCHES, "wide:=model.width=8 model.width=9", "sets model.width twice"),
        (PATCHES, "a:=,b:=data.length=8", "data.length changes what is measured"),
        (PATCHES, "a:=,b:=seed=3", "seed: use --seeds instead"),
        (PATCHES, "a:=,b:=optimizer.name=lion", "optimizer.name: use a config for each instead"),
        (PATCHES, "a:=,b:=model.widht=8", "has no key 'model.widht'. Did you mean 'model.width'?"),
        (PATCHES, "a:=,b:=model.width=wide", "config.model.width=wide: it takes int"),
        (PATCHES, "a:=,b:=model.attention=linaer", "there is no attention variant 'linaer'"),
        (PATCHES, "a:=,b:=", "variants 'a' and 'b' are the same on benchmark digits: leave out one"),
        (PATCHES, "a:=,b:=model.width=64", "are the same on benchmark digits: leave out one"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(key, text, said):
    with pytest.raises(Refused, match=re.escape(said)):
        vary(key, text)


def test_patches_set_several_keys_each_and_an_empty_one_none():
    found = vary(PATCHES, "base:=, wide:=model.width=128 optimizer.learning_rate=1e-3,deep:=model.num_layers=4")
    assert found.labels == (
        "base",
        "wide:=model.width=128 optimizer.learning_rate=1e-3",
        "deep:=model.num_layers=4",
    )
    plain = config.plain(DEMO.recall)
    assert found.config_of("recall", "base", 0) == {**plain, "seed": 0}
    wide = found.config_of("recall", found.labels[1], 3)
    assert (wide["model"]["width"], wide["optimizer"]["learning_rate"], wide["seed"]) == (128, 1e-3, 3)
    assert found.config_of("digits", found.labels[2], 0)["model"]["num_layers"] == 4


def test_values_of_patches_have_commas_and_brackets():
    found = choices(PATCHES, "a:=model.attention=performer:features=64,b:=model.x=(1, 2) model.y=[3,4],c:=")
    assert [choice.value for choice in found] == [
        "model.attention=performer:features=64",
        "model.x=(1, 2) model.y=[3,4]",
        "",
    ]


def test_a_section_of_patches_is_their_text_with_the_empty_one_first():
    section = ConfigDict({"wide": {"model": {"width": 128, "num_heads": 2}}, "deep": "model.num_layers=4", "plain": {}})
    assert patches(section) == choices(
        PATCHES, "plain:=,deep:=model.num_layers=4,wide:=model.num_heads=2 model.width=128"
    )
    with pytest.raises(Refused, match=r"config\.patches=3: it is a section"):
        patches(3)


def test_a_label_that_is_there_twice_stays_twice_for_the_plan_to_refuse():
    assert vary(ATTENTION, "linear,linear").labels == ("linear", "linear")


def test_a_point_is_set_beside_what_varies():
    found = vary(ATTENTION, "scaled_dot,linear")
    tuned = found.config_of("recall", "linear", 3, {"optimizer.learning_rate": 0.5, "model.width": 32})
    assert (tuned["model"]["attention"], tuned["model"]["width"]) == ("linear", 32)
    assert tuned["optimizer"]["learning_rate"] == 0.5
    assert found.config_of("recall", "linear", 3)["optimizer"]["learning_rate"] == 3e-3


TUNED = (("recall", "linear", "optimizer.learning_rate=0.02"), ("digits", "linear", "optimizer.weight_decay=0.5"))


def test_what_was_tuned_beforehand_is_of_one_variant_on_one_benchmark_and_gives_way_to_a_search():
    found = tuned(TUNED, DEMO, ("scaled_dot", "linear"))
    variation = Variation(ATTENTION, choices(ATTENTION, "scaled_dot,linear"), dict(DEMO.items()), found)
    optimizer = {
        place: variation.config_of(*place, 0)["optimizer"]
        for place in (("recall", "scaled_dot"), ("recall", "linear"), ("digits", "linear"))
    }
    assert optimizer["recall", "linear"] == {**optimizer["recall", "scaled_dot"], "learning_rate": 0.02}
    assert optimizer["digits", "linear"]["weight_decay"] == 0.5
    searched = variation.config_of("recall", "linear", 0, {"optimizer.learning_rate": 0.1})
    assert searched["optimizer"]["learning_rate"] == 0.1
    assert Variation(ATTENTION, choices(ATTENTION, "scaled_dot"), dict(DEMO.items()), found).tuned == {}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("recal", "linear", "optimizer.b1=0.8"), "no benchmark 'recal'. Did you mean 'recall'?"),
        (("recall", "lienar", "optimizer.b1=0.8"), "no variant 'lienar'. Did you mean 'linear'?"),
        (("recall", "linear", "steps=9"), "steps is the same for all variants"),
        (("recall", "linear", "data.length=9"), "data.length changes what is measured"),
        (("recall", "linear", "fast"), "give KEY=VALUE"),
        (("recall", "linear"), "is no row"),
    ],
)
def test_a_row_that_cannot_be_is_refused_by_name(row, said):
    with pytest.raises(Refused, match=re.escape(said)):
        tuned((row,), DEMO, ("linear",))
    with pytest.raises(Refused, match="linear on recall twice"):
        tuned((TUNED[0], TUNED[0]), DEMO, ("linear",))


@pytest.mark.parametrize("attention", ["none", "static"])
def test_a_patch_may_leave_the_attention_out(attention):
    (choice,) = patches({"twin": f"model.attention={attention}"})
    assert choice.value == f"model.attention={attention}"
    with pytest.raises(Refused, match="there is no attention variant 'nnone'"):
        patches({"twin": "model.attention=nnone"})
