"""`keras`, on torch: Luong's attention and Bahdanau's, whose projections the package leaves to the model."""

import os

os.environ["KERAS_BACKEND"] = "torch"

from functools import partial

import keras
import numpy as np
import torch

from tests.golden.packages.case import normal, write

B, T, N, H, WIDTH = 2, 9, 2, 4, 5


def by_head(layer, query, key, value, real, causal):
    """Each head by itself."""
    real = torch.from_numpy(real)
    heads = [
        layer(head, [array[:, :, head] for array in (query, value, key)], mask=[None, real], use_causal_mask=causal)
        for head in range(N)
    ]
    return torch.stack(heads, 2)


def dot(query, key, value, real, causal):
    attention = keras.layers.Attention(dtype="float64")
    return by_head(lambda _, three, **how: attention(three, **how), query, key, value, real, causal)


def additive(query, key, value, params_query, params_key, params_value, real, causal):
    def layer(head, three, **how):
        attention = keras.layers.AdditiveAttention(dtype="float64")
        attention.build([one.shape for one in three])
        # In place of the package's own array, so that the gradient of it is seen.
        vars(attention)["scale"] = params_value[head]
        return attention(three, **how)

    query = torch.einsum("btnh,nha->btna", query, params_query)
    key = torch.einsum("btnh,nha->btna", key, params_key)
    return by_head(layer, query, key, value, real, causal)


def main():
    real = np.arange(T) < np.array([[T], [T - 3]])
    arrays = {name: normal(B, T, N, H, seed=seed) for seed, name in enumerate(("query", "key", "value"))}
    network = {
        "params/query": normal(N, H, WIDTH, seed=3),
        "params/key": normal(N, H, WIDTH, seed=4),
        "params/value": normal(N, WIDTH, seed=5),
    }
    for call, of_package, variant, params in (
        (dot, "Attention", "dot", {}),
        (additive, "AdditiveAttention", f"additive:hidden={WIDTH}", network),
    ):
        for causal in (False, True):
            write(
                f"keras_{call.__name__}{'_causal' if causal else ''}",
                package="keras",
                function=of_package,
                call=partial(call, real=real, causal=causal),
                arrays=arrays | params,
                variant=variant,
                mask="causal" if causal else None,
                real=real,
            )


if __name__ == "__main__":
    main()
