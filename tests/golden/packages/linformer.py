"""`linformer` with queries, keys and values as they are, and fewer tokens than it is made for."""

from functools import partial

import torch
from linformer import LinformerSelfAttention

from tests.golden.packages.case import normal, write

B, T, N, H, LENGTH, RANK = 2, 12, 2, 4, 15, 5


def projected(query, key, value, key_projection, value_projection, key_heads):
    widths = [array.shape[2] * H for array in (query, key, value)]
    attention = LinformerSelfAttention(
        sum(widths), LENGTH, k=RANK, heads=N, dim_head=H, one_kv_head=key_heads == 1
    ).double()
    for layer, part in zip(
        (attention.to_q, attention.to_k, attention.to_v), torch.eye(sum(widths)).double().split(widths), strict=True
    ):
        layer.weight = torch.nn.Parameter(part)
    del attention.proj_k, attention.proj_v
    attention.proj_k, attention.proj_v = key_projection, value_projection
    attention.to_out = torch.nn.Identity()
    return attention(torch.cat([query, key, value], -2).flatten(2)).reshape(query.shape)


def main():
    projections = {
        f"params/{name}_projection": normal(LENGTH, RANK, seed=seed) for seed, name in ((3, "key"), (4, "value"))
    }
    for name, heads in (("linformer", N), ("linformer_one_key_head", 1)):
        write(
            name,
            package="linformer",
            function="LinformerSelfAttention",
            call=partial(projected, key_heads=heads),
            arrays={
                "query": normal(B, T, N, H),
                "key": normal(B, T, heads, H, seed=1),
                "value": normal(B, T, heads, H, seed=2),
                **projections,
            },
            variant=f"linformer:rank={RANK}",
        )


if __name__ == "__main__":
    main()
