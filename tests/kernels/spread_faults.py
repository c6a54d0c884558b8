"""Run by test_spread_faults.py with a number of devices: the faults of one device, tried where tokens are spread."""

import functools
import sys

import jax

jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.sharding import Mesh  # noqa: E402

from attention_jax.kernels import Causal, Segments, Window, attend, attend_sharded  # noqa: E402

DEVICES = int(sys.argv[1])
MESH = Mesh(np.array(jax.devices()), ("tokens",))
TOKENS, HEADS = 32, 8
DRAWN = np.random.default_rng(0).standard_normal((3, 2, TOKENS, HEADS, 8))
QUERY, KEY, VALUE = (jnp.asarray(array, jnp.float32) for array in DRAWN)


def spread(query, key, value, *, method, **arguments):
    return attend_sharded(query, key, value, mesh=MESH, axis="tokens", method=method, **arguments).out


def close(found, expected, **tolerance):
    for left, right in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(left, right, **({"rtol": 2e-4, "atol": 2e-5} | tolerance))


def gradients(call, singular):
    """Of a score function that has no derivative on hidden pairs, or of one that is held at 0 there."""

    def total(a, query):
        def modify(score, batch, head, query, key):
            distance = query - key if singular else jnp.maximum(query - key, 0)
            return score - a * jnp.log1p(distance.astype(score.dtype))

        return (call(query, KEY, VALUE, mask=Causal(), score_mod=modify) ** 2).sum()

    return jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(0.5, QUERY)


def dense(query, key, value, **arguments):
    return attend(query, key, value, engine="dense", **arguments).out


def faulty(call, query, key, value):
    """All else that was wrong once, in one program: narrow values, narrow positions, packed ids, long vectors."""
    of_directions = {"variant": "cosine", "params": {"log_beta": jnp.zeros(HEADS)}, "mask": Causal()}
    narrow_places = {"mask": Causal() & Window(200), "positions": np.arange(TOKENS, dtype=np.int8)[None] * 4}
    return {
        "narrow": call(query, key, value.astype(jnp.bfloat16), mask=Causal()),
        "places": call(query, key, value, **narrow_places),
        "packed": call(query, key, value, mask=Causal() & Segments([[0] * 20 + [1] * 12] * 2)),
        "large": call(query * 1e20, key * 1e20, value, **of_directions),
    }


RIGHT = jax.jit(functools.partial(faulty, dense))(QUERY, KEY, VALUE)
RIGHT["places"] = dense(QUERY, KEY, VALUE, mask=Causal())
EXACT = dense(QUERY, KEY, VALUE.astype(jnp.bfloat16).astype(jnp.float32), mask=Causal())
GRADIENTS = gradients(dense, False)
for method in ("ring", "all_gather", "all_to_all"):
    by_method = functools.partial(spread, method=method)
    close(gradients(by_method, True), GRADIENTS)
    found = jax.jit(functools.partial(faulty, by_method))(QUERY, KEY, VALUE)
    close(found.pop("narrow"), EXACT, rtol=1e-5, atol=1e-5)
    close(found, {name: RIGHT[name] for name in found})
print("equal")
