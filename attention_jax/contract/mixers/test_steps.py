"""Tokens in steps: however they are split, and with prompts of unequal length, they give what one pass gives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, quick_jit
from attention_jax.contract.mixers.cases import BATCH, SPECS, TOKENS, claiming, make, module_for
from attention_jax.kernels import Causal, Refused
from attention_jax.kernels.steps import Fresh
from attention_jax.layers import Seen

# How many tokens of each sequence come at each step: one at a time, a prompt, unequal prompts, a step of nothing.
SPLITS = {
    "one at a time": np.ones((TOKENS, BATCH), int),
    "a prompt": np.array([[4] * 3, [1] * 3, [2] * 3]),
    "unequal prompts": np.array([[4, 1, 2], [1, 3, 0], [2, 2, 4], [0, 1, 1]]),
}


def starts(lengths):
    """How many tokens there were before each step."""
    return np.cumsum(lengths, axis=0) - lengths


@functools.partial(quick_jit, static_argnames=("spec", "split"))
def in_steps(spec, inputs, variables, split):
    """The results of all steps, [B, T, D], each at its place."""
    module, lengths, state = module_for(spec), SPLITS[split], Fresh(TOKENS)
    out, rows = jnp.zeros_like(inputs), jnp.arange(BATCH)[:, None]
    for new, before in zip(lengths, starts(lengths), strict=True):
        steps = np.arange(new.max())
        places = jnp.asarray(before[:, None] + steps)
        tokens = inputs[rows, jnp.minimum(places, TOKENS - 1)]
        # Behind the tokens of a short prompt stands what is not kept.
        tokens = jnp.where((steps < new[:, None])[..., None], tokens, jnp.nan)
        seen = Seen(Causal(), places, lengths=jnp.asarray(new))
        mixed = module.apply(variables, tokens, seen, state=state)
        kept = jnp.where(steps < new[:, None], places, TOKENS)
        out, state = out.at[rows, kept].set(mixed.out, mode="drop"), mixed.state
    return out


@pytest.mark.parametrize(
    "split", [pytest.param(split, marks=[] if "unequal" in split else [pytest.mark.wide]) for split in SPLITS]
)
@pytest.mark.parametrize("spec", claiming(decodes=True))
def test_steps_give_what_one_pass_gives(spec, split):
    inputs, variables = make(spec)
    whole = quick_jit(lambda variables: module_for(spec).apply(variables, inputs, Seen(Causal())).out)(variables)
    assert error(in_steps(spec, inputs, variables, split), whole) < AGREEMENT


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec not in claiming(decodes=True)])
def test_a_mixer_without_steps_refuses_them(spec):
    inputs, variables = make(spec)
    seen = Seen(None, jnp.zeros((BATCH, 1), int), lengths=jnp.ones(BATCH, int))
    with pytest.raises(Refused, match="has no steps"):
        jax.eval_shape(lambda: module_for(spec).apply(variables, inputs[:, :1], seen, state=Fresh(TOKENS)))
