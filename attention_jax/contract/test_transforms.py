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
    run_compiled,
    same_bits,
    widely,
)
from attention_jax.contract.mask_cases import behind, counted
from attention_jax.kernels.mask_algebra import conjunction


def mask_of(spec, lengths):
    return conjunction(one_way(spec), behind(lengths))


def stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


LENGTHS = ([7, 7], [4, 6], [3, 1])


@pytest.mark.parametrize("spec", SPECS)
def test_another_mask_of_the_same_kind_is_no_other_program(spec):
    for engine in qualified(spec, make(spec), mask=mask_of(spec, [7, 7])):
        traces = []

        @jax.jit
        def compiled(inputs, mask, engine=engine, traces=traces):
            traces.append(engine)
            return run(spec, inputs, mask=mask, engine=engine)

        for seed, lengths in enumerate(LENGTHS):
            compiled.trace(make(spec, seed=seed), mask_of(spec, lengths))
        assert traces == [engine]


@pytest.mark.parametrize("spec", widely(SPECS))
def test_jit_gives_the_values_of_the_plain_call(spec):
    for engine in qualified(spec, make(spec), mask=mask_of(spec, [7, 7])):
        for seed, lengths in enumerate(LENGTHS):
            inputs, given = make(spec, seed=seed), {"mask": mask_of(spec, lengths), "engine": engine}
            assert error(run_compiled(spec, inputs, **given).out, run(spec, inputs, **given).out) < AGREEMENT


@pytest.mark.parametrize("spec", widely(SPECS))
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
    inputs, given = make(spec), {"mask": mask_of(spec, [7, 4]), **counted(spec)}
    for engine in qualified(spec, inputs, **given):
        assert same_bits(*(out_and_gradients(spec, inputs, like_output(inputs), engine=engine, **given) for _ in "12"))
