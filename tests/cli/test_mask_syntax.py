"""Masks as a user types them: read as Python would, never evaluated, refused where they go wrong."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.cli.explain import EPILOG
from attention_jax.cli.mask_syntax import RULES, Tokens, parse_mask
from attention_jax.kernels import Blocks, Causal, Dense, Global, Padding, PrefixLM, Refused, Segments, Window
from attention_jax.kernels.mask_algebra import Axis

TOKENS = Tokens(batch=2, queries=6, keys=6)
AXIS = Axis(jnp.arange(6), jnp.arange(6)[None])


def seen(mask) -> np.ndarray:
    """Who sees whom under a mask of TOKENS, [B, T, S]."""
    return np.broadcast_to(np.asarray(mask.visible(AXIS, AXIS)), (2, 1, 6, 6))[:, 0]


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("causal", Causal()),
        ("causal() & padding(4, 2,)", Causal() & Padding(np.array([4, 2]))),
        (" window( 2 ) ", Window(2)),
        ("causal & window(2) | global(1)", Causal() & Window(2) | Global(1)),
        ("global(1) | window(2) & causal", Causal() & Window(2) | Global(1)),
        ("causal&(window(2)|global(1))", Causal() & (Window(2) | Global(1))),
        ("((causal))&padding(4,2)&segments", Causal() & Padding(np.array([4, 2])) & Segments(np.zeros((2, 6), int))),
        ("prefix_lm(3)", PrefixLM(3)),
        ("blocks(4) & causal", Blocks(np.ones((1, 1, 2, 2), bool), 4, 4) & Causal()),
        ("blocks(4, 1)", Blocks(np.ones((1, 1, 2, 6), bool), 4, 1)),
        ("prefix_lm(3,1) & dense", PrefixLM(np.array([3, 1])) & Dense(np.ones((6, 6), bool))),
    ],
)
def test_a_mask_is_read_as_python_would(text, mask):
    np.testing.assert_array_equal(seen(parse_mask(text)(TOKENS)), seen(mask))


def test_every_rule_is_in_the_help_and_can_be_written():
    for name, rule in RULES.items():
        assert re.search(rf"\b{name}\b", EPILOG)
        assert seen(parse_mask(f"{name}({'1' if rule.fewest else ''})")(TOKENS)).shape == (2, 6, 6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("casual", "there is no rule 'casual'. Did you mean 'causal'?"),
        ("causal & windw(3)", "Did you mean 'window'?"),
        ("causal window(3)", "expected & or |, at 'window'"),
        ("causal &", "expected a rule, at its end"),
        ("", "expected a rule, at its end"),
        ("& causal", "expected a rule, at '&'"),
        ("(causal", "a ( is not closed, at its end"),
        ("causal)", "there is a ) too much, at ')'"),
        ("window", "window is given 0 numbers; write window(size)"),
        ("window(1, 2)", "window is given 2 numbers"),
        ("causal(1)", "causal is given 1 numbers; write causal"),
        ("window(x)", "expected a whole number, at 'x'"),
        ("window(-1)", "expected a whole number, at '-1'"),
        ("window(1", "a ( is not closed, at its end"),
        ("window(1 2)", "expected &, | or a comma behind, at '1'"),
        ("window(1.5)", "expected a whole number, at '1.5'"),
        ("window(True)", "expected a whole number, at 'True'"),
        ("window(size=3)", "expected a whole number, at 'size=3'"),
        ("window(*3)", "expected a whole number, at '*3'"),
        ("causal and window(3)", "expected a rule, or rules joined by & and |, at 'causal and window(3)'"),
        ("~causal", "expected a rule, or rules joined by & and |, at '~causal'"),
        ("causal + window(3)", "joined by & and |, at 'causal + window(3)'"),
        ("causal # & window(3)", "expected & or |, at '#'"),
        ("causal\0", "mask 'causal\\x00'"),
        ("(" * 300 + "causal" + ")" * 300, "too many nested parentheses"),
        ("padding(1,,2)", "expected a whole number, at ','"),
        ("__import__('os')", "there is no rule '__import__'."),
    ],
)
def test_what_is_not_a_mask_is_refused_where_it_goes_wrong(text, says):
    with pytest.raises(Refused) as refusal:
        parse_mask(text)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)
