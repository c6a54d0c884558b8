"""`nystrom-attention` with queries, keys and values as they are, and without the convolution of the values."""

from functools import partial

import numpy as np
import torch
from nystrom_attention import NystromAttention

from tests.golden.packages.case import normal, write

B, T, N, H, LANDMARKS, ITERATIONS = 2, 16, 2, 4, 4, 4
OF_PADDING = "a segment of nothing but padding stays a landmark of the pseudo-inverse"
WHOLE_BATCH = "each pseudo-inverse starts from the largest sums of the whole batch"


def together(query, key, value, real=None):
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
    real = None if real is None else torch.from_numpy(real)
    return attention(torch.cat([query, key, value], -2).flatten(2), mask=real).reshape(query.shape)


def apart(query, key, value, real=None):
    """Each matrix by itself."""

    def one(number, head):
        three = (array[number : number + 1, :, head : head + 1] for array in (query, key, value))
        return together(*three, real=None if real is None else real[number : number + 1])

    return torch.cat([torch.cat([one(number, head) for number in range(B)]) for head in range(N)], 2)


def main():
    three = {name: normal(B, T, N, H, seed=seed, scale=2) for seed, name in enumerate(("query", "key", "value"))}
    some, segment = (np.arange(T) < np.array([[T], [T - hidden]]) for hidden in (2, T // LANDMARKS + 1))
    for name, call, real, differs in (
        ("nystrom", apart, None, None),
        ("nystrom_padding", apart, some, None),
        ("nystrom_as_published", together, None, WHOLE_BATCH),
        ("nystrom_segment_of_padding", apart, segment, OF_PADDING),
    ):
        write(
            f"nystrom_attention_{name}",
            package="nystrom-attention",
            function="NystromAttention",
            call=partial(call, real=real),
            arrays=three,
            variant=f"nystrom:landmarks={LANDMARKS},iterations={ITERATIONS}",
            real=real,
            rows=real,
            differs=differs,
        )


if __name__ == "__main__":
    main()
