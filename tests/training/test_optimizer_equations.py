"""Optimizers against their papers' equations in NumPy, over three steps of different rates."""

import jax
import numpy as np
import optax
import pytest

from attention_jax.contract.cases import quick_jit
from attention_jax.training.optimizer import build_optimizer
from tests.training.parameters import HEAD, QUERY, TOKEN, drawn, flat

STEPS, PEAK, DECAY = 8, 0.1, 0.3
# The rate of each step differs, so that one that is taken at the wrong step shows.
RATES = [PEAK * (1 - step / STEPS) for step in range(3)]
GRADIENTS = [drawn(seed) for seed in (1, 2, 3)]


def three_steps(*, start=None, gradients=GRADIENTS, **options):
    """Returns the parameters by path after three steps with given gradients."""
    optimizer, _ = build_optimizer(
        steps=STEPS, learning_rate=PEAK, clip_norm=None, schedule={"name": "warmup_linear"}, **options
    )

    @quick_jit
    def run(params):
        state = optimizer.init(params)
        for gradient in gradients:
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        return params

    return flat(run(drawn(0) if start is None else start))


def by_hand(step, path, *, weight_decay=DECAY):
    """Returns a parameter after three steps against step(t, gradient, parameter) and the decay, in float64."""
    weight_decay = weight_decay if path.endswith(("/kernel", "/embedding")) else 0
    value = flat(drawn(0))[path].astype(np.float64)
    for t, (rate, gradients) in enumerate(zip(RATES, GRADIENTS, strict=True), start=1):
        value = value - rate * (step(t, flat(gradients)[path].astype(np.float64), value) + weight_decay * value)
    return value


def adamw_step(b1=0.9, b2=0.98, eps=1e-6):
    """Loshchilov & Hutter 2017, algorithm 2, lines 6 to 12."""
    m = v = 0

    def step(t, g, _):
        nonlocal m, v
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)

    return step


def lion_step(b1=0.8, b2=0.95):
    """Chen et al. 2023, algorithm 2."""
    m = 0

    def step(_, g, __):
        nonlocal m
        direction, m = np.sign(b1 * m + (1 - b1) * g), b2 * m + (1 - b2) * g
        return direction

    return step


def sgd_step(momentum=0.9, nesterov=False):
    """Loshchilov & Hutter 2017, algorithm 1; Nesterov's form looks a step ahead (Sutskever et al. 2013)."""
    m = 0

    def step(_, g, __):
        nonlocal m
        m = momentum * m + g
        return g + momentum * m if nesterov else m

    return step


def adafactor_step(c=0.7, d=0.9, factored=True):
    """Shazeer & Stern 2018, algorithms 4 (matrices) and 5 (vectors), d the clipping threshold, eps2 1e-3."""
    rows = columns = full = 0

    def step(t, g, p):
        nonlocal rows, columns, full
        kept = 1 - t**-c
        if factored:
            rows = kept * rows + (1 - kept) * (g**2).sum(axis=1)
            columns = kept * columns + (1 - kept) * (g**2).sum(axis=0)
            v = np.outer(rows, columns) / rows.sum()
        else:
            full = v = kept * full + (1 - kept) * g**2
        u = g / np.sqrt(v)
        return max(1e-3, np.sqrt((p**2).mean())) * u / max(1, np.sqrt((u**2).mean()) / d)

    return step


REFERENCES = {
    "adamw": (adamw_step, {"b1": 0.9, "b2": 0.98, "eps": 1e-6}),
    "lion": (lion_step, {"b1": 0.8, "b2": 0.95}),
    "sgd": (lambda: sgd_step(0), {}),
    "sgd momentum": (sgd_step, {"momentum": 0.9}),
    "sgd nesterov": (lambda: sgd_step(nesterov=True), {"momentum": 0.9, "nesterov": True}),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_steps_are_those_of_the_paper(name):
    step, options = REFERENCES[name]
    after = three_steps(name=name.split()[0], weight_decay=DECAY, **options)
    for path in (QUERY, TOKEN, HEAD, "norm/bias", "block_0/attention/variant_query"):
        np.testing.assert_allclose(after[path], by_hand(step(), path), rtol=2e-5, atol=1e-6, err_msg=path)


def test_adafactor_steps_are_those_of_the_paper():
    after = three_steps(
        name="adafactor", weight_decay=DECAY, decay_rate=0.7, clipping_threshold=0.9, min_dim_size_to_factor=4
    )
    for path in (HEAD, TOKEN):
        np.testing.assert_allclose(after[path], by_hand(adafactor_step(), path), rtol=2e-5, err_msg=path)
    for path in ("norm/bias", "block_0/attention/variant_query"):
        expected = by_hand(adafactor_step(factored=False), path)
        np.testing.assert_allclose(after[path], expected, rtol=2e-5, err_msg=path)


def orthogonal(g):
    """Jordan et al. 2024: five quintic Newton-Schulz iterations of a matrix of norm 1."""
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / np.linalg.norm(x)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def muon_step(inputs, momentum=0.9, rms=0.2):
    """Liu et al. 2025, equation 4, of an array whose first `inputs` axes are the matrix's input."""
    m = 0

    def step(t, g, _):
        nonlocal m
        m = momentum * m + (1 - momentum) * g
        # optax corrects the bias of both terms of Nesterov's sum.
        ahead = momentum * m / (1 - momentum ** (t + 1)) + (1 - momentum) * g / (1 - momentum**t)
        matrix = ahead.reshape(np.prod(g.shape[:inputs]), -1)
        return rms * np.sqrt(max(matrix.shape)) * orthogonal(matrix).reshape(g.shape)

    return step


def test_muon_steps_along_orthogonal_matrices_in_the_blocks_and_is_adamw_outside():
    after = three_steps(name="muon", weight_decay=DECAY, momentum=0.9, b1=0.9, b2=0.98, eps=1e-6)
    inputs = {QUERY: 1, "block_1/attention/out/kernel": 2, "block_0/feed_forward/hidden/kernel": 1}
    for path, count in inputs.items():
        np.testing.assert_allclose(after[path], by_hand(muon_step(count), path), rtol=2e-4, atol=2e-5, err_msg=path)
    for path in (TOKEN, HEAD, "patch/kernel", "norm/bias", "class_token", "block_0/attention/variant_query"):
        np.testing.assert_allclose(after[path], by_hand(adamw_step(), path), rtol=2e-5, atol=1e-6, err_msg=path)


def test_muon_takes_blocks_that_are_scanned_over_one_by_one():
    def stacked(tree):
        blocks = jax.tree.map(lambda *arrays: np.stack(arrays), tree["block_0"], tree["block_1"])
        return {**{key: value for key, value in tree.items() if not key.startswith("block_")}, "blocks": blocks}

    apart = three_steps(name="muon")
    together = three_steps(name="muon", start=stacked(drawn(0)), gradients=[stacked(tree) for tree in GRADIENTS])
    for path, value in together.items():
        for layer in (0, 1):
            of_layer = value[layer] if path.startswith("blocks/") else value
            np.testing.assert_allclose(of_layer, apart[path.replace("blocks/", f"block_{layer}/")], atol=1e-6)
