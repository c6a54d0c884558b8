"""The programs that variants are compiled to: none calls LAPACK, whose batches wait for ever on CPU devices."""

import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from attention_jax.contract.cases import SPECS, claims, lowered, make, one_way, qualified
from attention_jax.contract.mask_cases import behind, counted
from attention_jax.kernels import Sizes, init
from attention_jax.kernels.mask_algebra import conjunction

# XLA's names of its calls to LAPACK, and the operations that become such calls.
LAPACK = re.compile(r"lapack_\w+|triangular.solve|cholesky", re.IGNORECASE)


@pytest.mark.parametrize("spec", SPECS)
def test_no_program_of_a_variant_calls_lapack(spec):
    inputs, widths = make(spec), Sizes(4, 2 if claims(spec).grouped else 4, 8, 8, 5, length=7)
    given = {"mask": conjunction(one_way(spec), behind([7, 7])), **counted(spec)}
    for engine in qualified(spec, inputs, **given):
        text = lowered(spec, inputs, engine=engine, **given)
        assert not LAPACK.search(text), f"{LAPACK.search(text)} in engine {engine}"
    drawn = jax.jit(lambda rng: init(spec, rng, widths)).lower(jax.random.key(0)).as_text()
    assert not LAPACK.search(drawn), f"{LAPACK.search(drawn)} in init"


def test_the_words_are_those_that_xla_has_for_it():
    solve = jax.jit(lambda a, b: jax.lax.linalg.triangular_solve(a, b, left_side=True, lower=True))
    assert LAPACK.search(solve.lower(jnp.eye(4), jnp.ones((4, 2))).as_text())


HANGING = """
import jax, jax.numpy as jnp
jax.config.update("jax_num_cpu_devices", {devices})
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from attention_jax.kernels import Causal, attend
mesh = NamedSharding(Mesh(jax.devices(), ("data",)), P("data"))
key = jax.random.key(0)
tokens = jax.device_put(jax.random.normal(key, (64, 64, 4, 16)), mesh)
per_token = {{"beta": jax.device_put(jnp.zeros((64, 64, 4)), mesh)}}
def total(tokens):
    return (attend(tokens, tokens, tokens, variant="delta_net", per_token=per_token, mask=Causal()).out ** 2).sum()
step = jax.jit(jax.grad(total))
for _ in range(5):
    out = step(tokens)
assert jnp.isfinite(jax.block_until_ready(out)).all()
"""


@pytest.mark.parametrize("devices", [2, pytest.param(4, marks=pytest.mark.wide), 8])
def test_the_delta_rule_returns_on_several_devices_with_as_many_steps_as_the_pool_has_threads(devices):
    command = [sys.executable, "-c", HANGING.format(devices=devices)]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "PYTHONPATH": os.getcwd()})
