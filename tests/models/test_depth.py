"""Every model trains with layers that read those below them, in both of its stacks where it has two."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.contract.cases import quick_jit
from tests.models.test_catalogue import BATCH, built
from tests.training.parameters import flat

DEPTH = {"residual": "attention_over_depth", "norm_position": "pre"}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("gpt", {"value_residual": "learned"}),
    ("gpt", {**DEPTH, "scan_layers": True}),
    ("transformer", {"value_residual": "per_token"}),
    ("transformer", DEPTH),
    ("encoder_classifier", {**DEPTH, "value_residual": "fixed"}),
    ("vit", {**DEPTH, "value_residual": "learned"}),
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_step_of_training_moves_what_reads_the_layers_below(name, options):
    model = built(name, init_stddev=0.3, init="normal", **options)
    rng = np.random.default_rng(0)
    tokens, image = rng.integers(11, size=(2, 8)), rng.normal(size=(2, 8, 8, 1))
    batch = {key: image if key == "image" else tokens for key in BATCH}
    arrays = jax.tree.map(jnp.asarray, models.arrays_of(model, batch))

    def loss(params):
        logits = model.apply({"params": params}, **arrays, deterministic=False, rngs={"dropout": jax.random.key(1)})
        return -jax.nn.log_softmax(logits)[..., 0].mean()

    @quick_jit
    def trained():
        def moved(leaf):
            return leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape)

        # The head of a ViT starts at zero, behind which no gradient comes.
        start = jax.tree.map(moved, model.init(jax.random.key(0), **arrays)["params"])
        before, gradient = jax.value_and_grad(loss)(start)
        step = jax.tree.map(lambda array, slope: array - 0.01 * slope, start, gradient)
        return before, loss(step), jax.tree.map(lambda one, other: jnp.abs(one - other).max(), start, step)

    before, after, moved = trained()
    assert after < before
    new = {path: by for path, by in flat(moved).items() if "share" in path or "_depth/" in path}
    # The first layer's attention has nothing beside its values and the embedding to weigh.
    still = {path for path, by in new.items() if by == 0}
    assert len(new) > len(still)
    assert all("block_0/attention" in path for path in still)
    assert all("encoder" in path or "decoder" in path for path in new) == (name == "transformer")
