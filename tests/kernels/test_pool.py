"""`pool` refuses what it cannot honour, in one line; a pooling in a file of the user's own is found by its path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels import (
    Causal,
    Padding,
    Refused,
    attend,
    lookup,
    lookup_pooling,
    pool,
    pooling_init,
)
from attention_jax.layers.kinds import KINDS, kind_of

HIDDEN = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 8)), jnp.float32)
PARAMS = pooling_init("self_attentive", jax.random.key(0), 8)
QUERY = jnp.ones((2, 3))
OWN = """
from attention_jax.kernels import Claims, Pooled, Pooling, PoolingClaims, SoftmaxScore, Source
from attention_jax.kernels import register, register_pooling

@register_pooling(source=Source("a test", "none"), claims=PoolingClaims(convex=False))
def largest(*, scale: float = 1.0) -> Pooling:
    "The largest of each channel."
    return Pooling(pool=lambda hidden, given: Pooled(scale * hidden.max(1)))

@register(source=Source("a test", "none"), claims=Claims())
def mine() -> SoftmaxScore:
    "Dot products."
    return SoftmaxScore()
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling": "self_atentive"}, r"there is no pooling 'self_atentive'\. Did you mean 'self_attentive'"),
        ({"pooling": ""}, r"pooling '' is not of the form NAME or NAME:option=value,option=value: give a name"),
        ({"pooling": "self_attentive:hop=2"}, r"pooling 'self_attentive' has no option 'hop' \(given 2\)"),
        ({"pooling": "self_attentive:hops=two"}, "has option hops='two', which is not int"),
        ({"pooling": "self_attentive:hops=0"}, "self_attentive has hops=0: give at least 1"),
        ({"pooling": "by_query:hidden=0"}, "by_query has hidden=0"),
        ({"pooling": "gated_pooling:hidden=0"}, "gated_pooling has hidden=0"),
        ({"pooling": "multihead_pooling:seeds=0"}, "multihead_pooling has seeds=0: give at least 1"),
        ({"pooling": "self_attentive"}, r"takes params \['hidden', 'hops'\], not \[\]: make them with pooling_init"),
        ({"params": PARAMS}, r"mean takes params \[\], not \['hidden', 'hops'\]"),
        ({"pooling": "self_attentive:hops=2", "params": PARAMS}, r"takes 'hops' of shape \(2, 8\) here, not \(4, 8\)"),
        ({"query": QUERY}, "mean takes no query: leave it out, or use pooling by_query"),
        ({"pooling": "by_query", "query": QUERY[:1]}, r"query has shape \(1, 3\): give \[2, width\]"),
        ({"pooling": "by_query", "query": QUERY.astype(int)}, "query is int32: cast it"),
        ({"hidden": HIDDEN[0]}, r"hidden has shape \(5, 8\): give \[batch, tokens, width\]"),
        ({"hidden": HIDDEN[:, :0]}, r"hidden has shape \(2, 0, 8\)"),
        ({"hidden": HIDDEN.astype(int)}, "hidden is int32: cast it to one of bfloat16"),
        ({"mask": Causal()}, "the mask of hidden is Causal: it says which tokens are real, by Padding or a bool array"),
        ({"mask": np.ones((2, 4), bool)}, r"Padding has bool of shape \(2, 4\) for 2 sequences of 5 keys"),
        ({"mask": Padding(np.array([1, 2, 3]))}, r"Padding has int32 of shape \(3,\) for 2 sequences"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments, message):
    with pytest.raises(Refused, match=message) as refusal:
        pool(arguments.get("hidden", HIDDEN), **{key: value for key, value in arguments.items() if key != "hidden"})
    assert "\n" not in str(refusal.value)


def test_heads_that_do_not_divide_the_width_are_refused():
    params = pooling_init("multihead_pooling:heads=3", jax.random.key(0), 8)
    with pytest.raises(Refused, match="heads=3, which do not divide the width 8"):
        pool(HIDDEN, pooling="multihead_pooling:heads=3", params=params)


def test_a_pooling_that_takes_no_query_has_no_arrays_for_one():
    with pytest.raises(Refused, match="self_attentive takes no query"):
        pooling_init("self_attentive", jax.random.key(0), 8, 3)


def test_a_file_holds_things_of_several_kinds_each_found_as_what_it_is(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    np.testing.assert_array_equal(pool(HIDDEN, pooling=f"{file}:largest:scale=2.0").out, 2 * HIDDEN.max(1))
    assert [kind_of(f"{file}:{name}").name for name in ("largest", "mine")] == ["pooling", "attention variant"]
    assert lookup(f"{file}:mine").name == "mine"
    query = HIDDEN[:, :, None]
    with pytest.raises(Refused, match="registers no attention 'largest'; it registers: mine; 'largest' is of"):
        attend(query, query, query, variant=f"{file}:largest")
    with pytest.raises(Refused, match="registers no pooling 'mine'; it registers: largest; 'mine' is of"):
        lookup_pooling(f"{file}:mine")
    with pytest.raises(Refused, match="registers no attention 'other'; it registers: largest, mine"):
        kind_of(f"{file}:other")


def test_a_name_is_of_one_kind():
    names = [name for kind in KINDS for name in kind.catalogue.names()]
    assert len(names) == len(set(names))
    assert all(kind_of(name) is kind for kind in KINDS for name in kind.catalogue.names())
    with pytest.raises(Refused, match=r"there is nothing called 'bidf'\. Did you mean 'bidaf'"):
        kind_of("bidf")
