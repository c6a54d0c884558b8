"""CopyNet: generated and copied words share one softmax, and what is copied of one word is added up."""

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.contract.cases import make, run
from attention_jax.kernels import Padding


def test_the_probabilities_of_all_words_are_one_softmax_over_words_and_tokens():
    words, inputs = 6, make("copy")
    scores = jax.random.normal(jax.random.key(0), (2, 7, 4, words))
    source = np.array([[1, 4, 1, 0, 5, 1, 2], [3, 3, 3, 3, 3, 3, 0]])
    one_hot = jnp.broadcast_to(jax.nn.one_hot(source, words)[:, :, None], (2, 7, 2, words))
    given = inputs._replace(value=one_hot, per_token={"generate": jax.nn.logsumexp(scores, -1)})
    result = run("copy", given, mask=Padding([7, 4]), outputs=("out", "lse", "logits"))
    generated = jnp.exp(scores - result.lse.swapaxes(1, 2)[..., None])
    both = jax.nn.softmax(jnp.concatenate([scores, result.logits.swapaxes(1, 2)], axis=-1))
    expected = both[..., :words] + jnp.einsum("btns,bsv->btnv", both[..., words:], one_hot[:, :, 0])
    np.testing.assert_allclose(result.out + generated, expected, atol=1e-6)
    np.testing.assert_allclose((result.out + generated).sum(-1), 1, rtol=1e-5)
    assert (result.out[0, ..., 3] == 0).all(), "a word that the source lacks is not copied"


def test_a_generator_that_is_sure_leaves_nothing_to_copy_and_one_that_is_not_leaves_all():
    inputs = make("copy")
    for sure, total in ((60.0, 0.0), (-60.0, 1.0)):
        certain = inputs._replace(per_token={"generate": jnp.full((2, 7, 4), sure)})
        weights = run("copy", certain, outputs=("weights",)).weights
        np.testing.assert_allclose(weights.sum(-1), total, atol=1e-5)
