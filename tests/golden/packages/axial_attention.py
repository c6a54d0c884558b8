"""`axial-attention` with queries, keys and values as they are, the same along both axes, and their sum."""

import torch
from axial_attention import AxialAttention

from tests.golden.packages.case import normal, write

B, ROWS, COLUMNS, N, H = 2, 3, 5, 2, 4


def axial(query, key, value):
    width = N * H
    attention = AxialAttention(3 * width, heads=N, dim_heads=H).double()
    of_query, of_both = torch.eye(3 * width).double().split([width, 2 * width])
    for line in attention.axial_attentions:
        line.fn.to_q.weight, line.fn.to_kv.weight = torch.nn.Parameter(of_query), torch.nn.Parameter(of_both)
        line.fn.to_out = torch.nn.ZeroPad1d((0, 2 * width))
    grid = torch.cat([query, key, value], -2).reshape(B, ROWS, COLUMNS, 3 * width)
    return attention(grid)[..., :width].reshape(query.shape)


def main():
    write(
        "axial_attention_axial",
        package="axial-attention",
        function="AxialAttention",
        call=axial,
        arrays={
            name: normal(B, ROWS * COLUMNS, N, H, seed=seed) for seed, name in enumerate(("query", "key", "value"))
        },
        variant="axial",
        grid=(ROWS, COLUMNS),
    )


if __name__ == "__main__":
    main()
