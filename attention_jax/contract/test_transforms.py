"""jit, grad, vmap, remat and scan change nothing; equal shapes compile once; two runs give the same bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    AGREEMENT,
    GRADIENT_AGREEMENT,
    SPECS,
    error,
    like_output,
    make,
    one_way,
    out_and_gradients,
    qualified,
    quick_jit,
    run,
    same_bits,
)
from attention_jax.kernels import Padding
from attention_jax.kernels.mask_algebra import conjunction


def mask_of(spec, lengths):
    return conjunction(one_way(spec), Padding(jnp.asarray(lengths)))


def stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@pytest.mark.parametrize("spec", SPECS)
def test_jit_gives_the_values_of_the_plain_call_and_compiles_once(spec):
    for engine in qualified(spec, make(spec), mask=mask_of(spec, [7, 7])):
        traces = []

        @quick_jit
        def compiled(inputs, mask, engine=engine, traces=traces):
            traces.append(engine)
            return run(spec, inputs, mask=mask, engine=engine)

        for seed, lengths in enumerate(([7, 7], [4, 6], [3, 1])):
            inputs = make(spec, seed=seed)
            result = compiled(inputs, mask_of(spec, lengths))
            assert error(result.out, run(spec, inputs, mask=mask_of(spec, lengths), engine=engine).out) < AGREEMENT
            assert same_bits(result, compiled(inputs, mask_of(spec, lengths)))
        assert traces == [engine]


@pytest.mark.parametrize("spec", SPECS)
def test_scan_of_vmap_of_remat_of_grad_gives_the_values_of_the_plain_calls(spec):
    seeds = np.array([[0, 1], [2, 3]])
    lengths = np.array([[[7, 7], [4, 6]], [[3, 1], [7, 2]]])
    weighing = like_output(make(spec))

    @jax.checkpoint
    def value(inputs, lengths):
        result = run(spec, inputs, mask=mask_of(spec, lengths))
        return (result.out * weighing).sum(), result

    def step(carry, batch):
        return carry, jax.vmap(jax.value_and_grad(value, has_aux=True))(*batch)

    rows = [stack([make(spec, seed=int(seed)) for seed in row]) for row in seeds]
    scanned = quick_jit(lambda *batches: jax.lax.scan(step, 0, batches)[1])
    (_, results), gradients = scanned(stack(rows), lengths)
    for at in np.ndindex(2, 2):
        inputs = make(spec, seed=int(seeds[at]))
        engine = qualified(spec, inputs, mask=mask_of(spec, [7, 7]))[0]
        out, plain = out_and_gradients(spec, inputs, weighing, mask=mask_of(spec, lengths[at]), engine=engine)
        assert error(results.out[at], out) < AGREEMENT
        for left, right in zip(jax.tree.leaves(gradients), jax.tree.leaves(plain), strict=True):
            assert error(left[at], right) < GRADIENT_AGREEMENT


@pytest.mark.parametrize("spec", SPECS)
def test_two_runs_give_the_same_bits(spec):
    inputs = make(spec)
    for engine in qualified(spec, inputs, mask=mask_of(spec, [7, 7])):
        first, second = (
            out_and_gradients(spec, inputs, like_output(inputs), mask=mask_of(spec, [7, 4]), engine=engine)
            for _ in range(2)
        )
        assert same_bits(first, second)
