"""`local-attention` with windows of one size for each query, and without its rotary positions."""

from functools import partial

import numpy as np
import torch
from local_attention import LocalAttention

from tests.golden.packages.case import normal, write

B, T, N, H, BLOCK = 2, 14, 2, 4, 4


def local(query, key, value, causal, real=None):
    attention = LocalAttention(
        BLOCK, causal=causal, exact_windowsize=True, autopad=True, use_rotary_pos_emb=False
    ).double()
    heads_first = (array.transpose(1, 2) for array in (query, key, value))
    return attention(*heads_first, mask=torch.from_numpy(real)).transpose(1, 2)


def main():
    real = np.arange(T) < np.array([[T], [T - 3]])
    for name, causal in (("sliding_window", False), ("sliding_window_causal", True)):
        write(
            f"local_attention_{name}",
            package="local-attention",
            function="LocalAttention",
            call=partial(local, causal=causal, real=real),
            arrays={of: normal(B, T, N, H, seed=seed) for seed, of in enumerate(("query", "key", "value"))},
            variant=f"sliding_window:window={BLOCK + 1}",
            mask="causal" if causal else None,
            real=real,
        )


if __name__ == "__main__":
    main()
