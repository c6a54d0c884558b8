"""`nystrom-attention` with queries, keys and values as they are, and without the convolution of the values."""

import torch
from nystrom_attention import NystromAttention

from tests.golden.packages.case import normal, write

B, T, N, H, LANDMARKS, ITERATIONS = 2, 16, 2, 4, 4, 4
WHOLE_BATCH = "each pseudo-inverse starts from the largest sums of the whole batch"


def together(query, key, value):
    """All matrices as one batch."""
    heads, width = query.shape[2:]
    attention = NystromAttention(
        3 * heads * width,
        dim_head=width,
        heads=heads,
        num_landmarks=LANDMARKS,
        pinv_iterations=ITERATIONS,
        residual=False,
    ).double()
    attention.to_qkv, attention.to_out = torch.nn.Identity(), torch.nn.Identity()
    return attention(torch.cat([query, key, value], -2).flatten(2)).reshape(query.shape)


def apart(query, key, value):
    """Each matrix by itself."""
    singles = [[array[:, :, head : head + 1].split(1) for array in (query, key, value)] for head in range(N)]
    return torch.cat([torch.cat([together(*one) for one in zip(*of_head, strict=True)]) for of_head in singles], 2)


def main():
    three = {name: normal(B, T, N, H, seed=seed, scale=2) for seed, name in enumerate(("query", "key", "value"))}
    for name, call, differs in (("nystrom", apart, None), ("nystrom_as_published", together, WHOLE_BATCH)):
        write(
            f"nystrom_attention_{name}",
            package="nystrom-attention",
            function="NystromAttention",
            call=call,
            arrays=three,
            variant=f"nystrom:landmarks={LANDMARKS},iterations={ITERATIONS}",
            differs=differs,
        )


if __name__ == "__main__":
    main()
