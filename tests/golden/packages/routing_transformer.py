"""`routing-transformer`: attention within clusters, with the variant's centroids in place of its running means."""

from functools import partial
from unittest.mock import patch

import numpy as np
import routing_transformer.routing_transformer as package
import torch

from tests.golden.packages.case import normal, write

B, T, N, H, CLUSTERS, WINDOW = 2, 16, 2, 4, 4, 6
MEMORY = "under a causal mask each cluster has a learned key and value besides"
PLACES = "padding takes places in the clusters"


def clustered(query, key, value, centroids, causal=False, memory=0, real=None):
    """It adds 1e-5 to the number that a mean is divided by, here 1e-12."""
    attention = package.KmeansAttention(CLUSTERS, WINDOW, N, H, causal=causal).double().eval()
    attention.kmeans.means.copy_(centroids)
    attention.kmeans.initted.fill_(True)
    attention.num_mem_kv = memory
    attention.mem_key, attention.mem_value = (
        torch.nn.Parameter(torch.from_numpy(normal(N, CLUSTERS, memory, H, seed=seed)).double()) for seed in (8, 9)
    )
    real = None if real is None else torch.from_numpy(real)
    heads_first = (array.transpose(1, 2) for array in (query, key, value))
    with patch.object(package, "scatter_mean", partial(package.scatter_mean, eps=1e-12)):
        out, _ = attention(*heads_first, query_mask=real, key_mask=real)
    return out.transpose(1, 2)


def main():
    directions = normal(N, CLUSTERS, H, seed=3)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    query, key, value = (normal(B, T, N, H, seed=seed) for seed in range(3))
    # Keys of the queries' directions: a cluster then has the keys of its queries, and each query sees its own.
    alike = query * np.exp(normal(B, T, N, 1, seed=4))
    real = np.arange(T) < np.array([[T], [T - 5]])
    for name, of_key, more, mask, differs in (
        ("routing", key, {}, None, None),
        ("routing_causal", alike, {"causal": True}, "causal", None),
        ("routing_memory", alike, {"causal": True, "memory": 1}, "causal", MEMORY),
        ("routing_padding", key, {"real": real}, None, PLACES),
    ):
        write(
            f"routing_transformer_{name}",
            package="routing-transformer",
            function="KmeansAttention",
            call=partial(clustered, **more),
            arrays={"query": query, "key": of_key, "value": value, "params/centroids": directions},
            variant=f"routing:clusters={CLUSTERS},window={WINDOW}",
            mask=mask,
            real=more.get("real"),
            rows=more.get("real"),
            still=("params/centroids",),
            differs=differs,
        )


if __name__ == "__main__":
    main()
