"""Every position encoding is the equation of its paper: in float32, float64 and bfloat16."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import ROUNDING, doubled, error, quick_jit
from attention_jax.contract.positions.cases import OF_LOGITS, OF_TOKENS, POSITIONS_GIVEN, make, run
from attention_jax.contract.positions.test_tokens import HIDDEN, params
from attention_jax.kernels import Causal, embed_positions, lookup_position

# Beside the spec that the contract tries, what else its options make of it.
MORE = (
    "rope:pairs=interleaved", "rope:fraction=0.5", "rope:scaling=ntk,factor=4.0,base=100.0",
    "rope:scaling=yarn,factor=4.0,original=64,base=100.0", "rope:columns=3", "rope:columns=3,pairs=interleaved",
    "t5:buckets=6,furthest=5,bidirectional=false", "t5", "xpos", "xpos:scale_base=8.0,pairs=interleaved,gamma=1.0",
    "kerple:kind=power", "fire", "shaw", "shaw:clip=3",
)  # fmt: skip
SEEN = {"none": np.ones((2, 7, 7), bool), "causal": POSITIONS_GIVEN[:, :, None] >= POSITIONS_GIVEN[:, None, :]}


def oracle_of(spec):
    """The function of its file, with the options chosen, or None for one of a user's own."""
    chosen = lookup_position(spec)
    module = importlib.import_module(f"tests.oracle.positions.{chosen.name}")
    return module, {name: value for name, (_, value) in chosen.options.items()}


def logits(spec, inputs):
    """All logits by the equation, float64 [B, N, T, S]."""
    module, options = oracle_of(spec)
    query, key, _, own, _ = jax.tree.map(lambda array: np.asarray(array, np.float64), tuple(inputs))
    (batch, tokens, heads, _), kv_heads = query.shape, key.shape[2]
    found = np.zeros((batch, heads, tokens, tokens))
    for b, n, i, j in np.ndindex(*found.shape):
        head, place = (n, n * kv_heads // heads, heads), (int(POSITIONS_GIVEN[b, i]), int(POSITIONS_GIVEN[b, j]))
        found[b, n, i, j] = module.logit(query[b, i, n], key[b, j, head[1]], place, head, own, **options)
    return found


def in_values(spec, inputs):
    """What is added to the value of each pair by the equation, float64 [B, T, S, Hv], or None."""
    module, options = oracle_of(spec)
    if not options.get("values"):
        return None
    own = {name: np.asarray(array, np.float64) for name, array in inputs.params.items()}
    places = [[[(int(i), int(j)) for j in row] for i in row] for row in POSITIONS_GIVEN]
    return np.array([[[module.value(pair, own, **options) for pair in row] for row in rows] for rows in places])


def attended(xp, found, inputs, seen, added=None):
    """softmax(logits) (v + what is added), in the dtype of the logits."""
    value = xp.repeat(xp.asarray(inputs.value, found.dtype), found.shape[1] // inputs.value.shape[2], axis=2)
    hidden = xp.where(seen[:, None], found, -np.inf)
    weights = xp.exp(hidden - hidden.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    out = xp.einsum("bnts,bsnh->btnh", weights, value)
    return out if added is None else out + xp.einsum("bnts,btsh->btnh", weights, added)


@pytest.mark.parametrize("exact", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("heads", [(4, 2), (6, 6)], ids=str)
@pytest.mark.parametrize("spec", [*OF_LOGITS, *MORE])
def test_it_equals_the_equation_of_the_paper(spec, heads, exact):
    inputs = make(spec, heads=heads[0], kv_heads=heads[1])
    found, added = logits(spec, inputs), in_values(spec, inputs)
    with jax.enable_x64(exact):
        for kind, mask in (("none", None), ("causal", Causal())):
            call = quick_jit(lambda one, mask=mask: run(spec, one, mask=mask, positions=POSITIONS_GIVEN).out)
            out = call(doubled(inputs) if exact else inputs)
            assert error(out, attended(np, found, inputs, SEEN[kind], added)) < (1e-12 if exact else 2 * ROUNDING)


@pytest.mark.parametrize("spec", OF_LOGITS)
def test_bfloat16_is_no_worse_than_twice_the_naive(spec):
    narrow = make(spec).with_tokens(lambda array: array.astype(jnp.bfloat16))
    found = logits(spec, narrow)
    truth = attended(np, found, narrow._replace(value=narrow.value.astype(jnp.float32)), SEEN["none"])
    naive = attended(jnp, jnp.asarray(found, jnp.bfloat16), narrow, SEEN["none"])
    assert error(run(spec, narrow, positions=POSITIONS_GIVEN).out, truth) < 2 * error(naive, truth)


@pytest.mark.parametrize("spec", OF_TOKENS)
def test_one_of_tokens_equals_the_equation_of_the_paper(spec):
    module, options = oracle_of(spec)
    own = params(spec)
    found = embed_positions(HIDDEN, POSITIONS_GIVEN, position_encoding=spec, params=own)
    own = {name: np.asarray(array, np.float64) for name, array in own.items()}
    for b, t in np.ndindex(*POSITIONS_GIVEN.shape):
        hidden = np.asarray(HIDDEN[b, t], np.float64)
        expected = module.embed(hidden, int(POSITIONS_GIVEN[b, t]), own, **options)
        np.testing.assert_allclose(found[b, t], expected, atol=1e-5)
