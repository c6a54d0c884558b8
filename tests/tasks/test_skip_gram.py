"""The loss of skip-gram in float64 loops from its equation, its gradient by differences, and the correlation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from attention_jax import models, tasks
from attention_jax.base.errors import Refused
from attention_jax.data import Dataset
from tests.layers.arrays import random_variables

B, C, K, V, D = 3, 4, 6, 7, 5


def drawn():
    rng = np.random.default_rng(0)
    return {
        "center": rng.integers(V, size=B).astype(np.int32),
        "contexts": rng.integers(V, size=(B, C)).astype(np.int32),
        "weights": rng.integers(2, size=(B, C)).astype(np.float32),
        "negatives": rng.integers(V, size=(B, K)).astype(np.int32),
        "pair": rng.integers(V, size=(B, 2)).astype(np.int32),
    }


def model_and_variables():
    model = models.build("skip_gram", facts={"vocabulary_size": V}, width=D)
    batch = drawn()
    return model, random_variables(model, batch["center"], batch["contexts"], batch["negatives"], stddev=1.0)


def by_loops(token, context, batch, weigh):
    """Equation 4 of the paper, negated, the mean over all pairs; the mean of the negatives times `weigh`."""
    total = 0.0
    for row in range(B):
        center = token[batch["center"][row]]
        drawn = [-np.log(1 / (1 + np.exp(context[word] @ center))) for word in batch["negatives"][row]]
        for place in range(C):
            score = context[batch["contexts"][row, place]] @ center
            pair = -np.log(1 / (1 + np.exp(-score))) + weigh * np.mean(drawn)
            total += batch["weights"][row, place] * pair
    return total / batch["weights"].sum()


@pytest.mark.parametrize("weigh", [1, 5])
def test_the_loss_and_its_gradient_are_those_of_the_equation(weigh):
    (model, variables), batch, task = model_and_variables(), drawn(), tasks.build("skip_gram", negatives=weigh)

    def loss(params):
        return task.run(model, {"params": params}, batch)["loss"].mean

    found, gradient = jax.value_and_grad(loss)(variables["params"])
    tables = [np.asarray(variables["params"][name]["embedding"], np.float64) for name in ("token", "context")]
    np.testing.assert_allclose(found, by_loops(*tables, batch, weigh), rtol=1e-5)
    for name, table in zip(("token", "context"), tables, strict=True):
        for place in np.ndindex(table.shape):
            ends = []
            for step in (1e-5, -1e-5):
                table[place] += step
                ends.append(by_loops(*tables, batch, weigh))
                table[place] -= step
            slope = (ends[0] - ends[1]) / 2e-5
            np.testing.assert_allclose(gradient[name]["embedding"][place], slope, atol=1e-5)


def test_it_starts_as_the_published_program_does():
    model = models.build("skip_gram", facts={"vocabulary_size": 50}, width=20)
    batch = drawn()
    params = model.init(jax.random.key(0), batch["center"], batch["contexts"], batch["negatives"])["params"]
    assert 0.02 < float(jnp.abs(params["token"]["embedding"]).max()) <= 0.025
    assert not params["context"]["embedding"].any()


class Rated:
    """A split with ratings of its first pairs."""

    def __init__(self, ratings):
        self.ratings = np.array(ratings)


def score(cosine, ratings):
    dataset = Dataset({"validation": Rated(ratings)}, {})
    return tasks.build("skip_gram").score({"cosine": np.array(cosine)}, dataset, "validation")


def test_the_score_is_the_correlation_of_the_pairs_that_the_split_carries():
    cosine, ratings = [0.3, -0.2, 0.9, 0.1, 0.5], [5.0, 1.0, 4.0]
    found = score(cosine, ratings)
    assert found == {"spearman": pytest.approx(stats.spearmanr(cosine[:3], ratings).statistic), "rated_pairs": 3.0}
    assert score(cosine, []) == {"spearman": 0.0, "rated_pairs": 0.0}
    assert score([0.5, 0.5, 0.1], [1.0, 2.0]) == {"spearman": 0.0, "rated_pairs": 2.0}


def test_the_cosine_is_that_of_the_vectors():
    (model, variables), batch, task = model_and_variables(), drawn(), tasks.build("skip_gram")
    table = np.asarray(variables["params"]["token"]["embedding"])
    found = task.collect(model, variables, batch, jax.random.key(0))["cosine"]
    for row, (first, second) in enumerate(batch["pair"]):
        one, other = table[first], table[second]
        np.testing.assert_allclose(
            found[row], one @ other / np.linalg.norm(one) / np.linalg.norm(other), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(("options", "message"), [({"metric": "bleu"}, "bleu"), ({"negatives": 0}, "negatives=0")])
def test_bad_options_are_refused(options, message):
    with pytest.raises(Refused, match=message):
        tasks.build("skip_gram", **options)
