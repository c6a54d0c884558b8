"""Language models that are tables: the logits depend on all tokens so far, so that a state in the wrong row shows."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

NODES = 9973


@dataclass(frozen=True, eq=False)
class Table:
    """Logits [NODES, V] by a number that each token changes: `advance` and `after` walk it alike."""

    logits: np.ndarray

    @staticmethod
    def drawn(seed, vocabulary, *, spread=2.0):
        logits = np.random.default_rng(seed).normal(size=(NODES, vocabulary)) * spread
        return Table(logits.astype("f4"))

    @property
    def vocabulary(self):
        return self.logits.shape[1]

    def start(self, batch):
        return {"node": jnp.zeros((batch, 1), jnp.int32)}

    def advance(self, state, tokens, lengths):
        def step(node, at):
            token, place = at
            return jnp.where(place < lengths, (node * (self.vocabulary + 1) + token + 1) % NODES, node), None

        node, _ = jax.lax.scan(step, state["node"][:, 0], (tokens.T, jnp.arange(tokens.shape[1])))
        # The logits of a row that is over may be anything.
        return jnp.where(lengths[:, None] > 0, jnp.asarray(self.logits)[node], jnp.nan), {"node": node[:, None]}

    def after(self, tokens):
        """Returns the logits [V] after a list of tokens."""
        node = 0
        for token in tokens:
            node = (node * (self.vocabulary + 1) + token + 1) % NODES
        return self.logits[node]

    def log_probabilities(self, tokens):
        """Returns the log-probabilities [V] of the token after a list of tokens, in float64."""
        logits = self.after(tokens).astype(np.float64)
        return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()


def padded(prompts, pad=0):
    """Returns prompts of unequal lengths as one array, padded on the right, and their lengths."""
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    rows = np.full((len(prompts), lengths.max()), pad, np.int32)
    for row, prompt in zip(rows, prompts, strict=True):
        row[: len(prompt)] = prompt
    return rows, lengths
