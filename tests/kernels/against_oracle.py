"""The gradients of a mechanism against the finite differences of its oracle, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from attention_jax.contract.cases import AGREEMENT, Inputs, doubled, error, like_output, make, quick_jit, run
from attention_jax.kernels import Causal, Mask, Padding, Sizes, init, lookup
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

STEP = 1e-6


def check_gradients(spec: str, inputs: Inputs, visible: np.ndarray, mask: Mask | None) -> None:
    """Checks the gradient of each array in a random direction; of arrays that are drawn there is none to check."""
    drawn = init(spec, jax.random.key(0), Sizes(4, 2 if lookup(spec).claims.grouped else 4, 8, 8, 5))[1]
    weighing = like_output(inputs)
    with jax.enable_x64(True):
        inputs = doubled(inputs)
        kept = {name: inputs.params[name] for name in drawn}
        parts = {"query": inputs.query, "key": inputs.key, "value": inputs.value, **inputs.per_token}
        parts |= {name: array for name, array in inputs.params.items() if name not in kept}

        def made(parts):
            of_tokens = (parts["query"], parts["key"], parts["value"])
            params = {name: parts.get(name, array) for name, array in inputs.params.items()}
            return Inputs(*of_tokens, params, {name: parts[name] for name in inputs.per_token})

        def loss(parts):
            return (run(spec, made(parts), mask=mask, engine="dense").out * weighing).sum()

        gradients = quick_jit(jax.grad(loss))(parts)
        for number, (name, array) in enumerate(parts.items()):
            flat, unravel = ravel_pytree(array)
            step = unravel(jnp.asarray(STEP * np.random.default_rng(number).normal(size=flat.shape)))
            ahead, behind = (
                (
                    oracle(equation(spec), *made({**parts, name: array + sign * step}), visible=visible).out * weighing
                ).sum()
                for sign in (1, -1)
            )
            np.testing.assert_allclose((gradients[name] * step).sum() / STEP, (ahead - behind) / 2 / STEP, rtol=1e-5)


def check_where_most_is_left_out(spec: str, *, tokens: int, padded: int, causal: bool) -> None:
    """Checks out and gradients where over half of the pairs that the mask leaves have no weight.

    Args:
      spec: of the mechanism.
      tokens: of both sequences.
      padded: how many of them are padding in the second.
      causal: whether the mask is causal too.
    """
    lengths, inputs = np.array([tokens, tokens - padded]), make(spec, queries=tokens)
    mask = Causal() & Padding(lengths) if causal else Padding(lengths)
    seen = np.tri(tokens, k=0 if causal else tokens, dtype=bool) & (np.arange(tokens) < lengths[:, None])[:, None]
    visible = np.broadcast_to(seen[:, None], (2, 4, tokens, tokens))
    expected = oracle(equation(spec), *inputs, visible=visible)
    assert (expected.weights > 0).sum() < visible.sum() / 2
    assert error(run(spec, inputs, mask=mask).out, expected.out) < AGREEMENT
    check_gradients(spec, inputs, visible, mask)
