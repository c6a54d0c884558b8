"""The plain branches of native sparse attention in `flash-linear-attention`.

The package makes a block one token by its mean, in a kernel for GPUs; here the variant's own layers do it, and each of
the package's plain functions gets what they give. It has block lengths, strides and chosen blocks of one size.
"""

from functools import partial

import torch
from fla.ops.attn.naive import naive_parallel_attn
from fla.ops.nsa.naive import naive_nsa_compression, naive_nsa_selection, naive_nsa_topk
from torch.nn.functional import silu

from tests.golden.packages.case import normal, write

B, T, N, K, H = 1, 24, 2, 1, 4
BLOCK, SELECTED, WINDOW = 4, 4, 5


def compressed(tokens, place, inner, outer):
    blocks = tokens.unflatten(1, (-1, BLOCK)) + place.transpose(0, 1)
    return torch.einsum("bckh,khj->bckj", silu(torch.einsum("bclkj,kljh->bckh", blocks, inner)), outer)


def nsa(query, key, value, gates, **params):
    of_key, of_value = (
        compressed(tokens, *(params[f"{name}_{part}"] for part in ("place", "in", "out")))
        for name, tokens in (("key", key), ("value", value))
    )
    how = {"block_size": BLOCK, "scale": H**-0.5}
    chosen = naive_nsa_topk(query, of_key, SELECTED, **how)
    branches = (
        naive_nsa_compression(query, of_key, of_value, **how)[0],
        naive_nsa_selection(query, key, value, chosen, **how),
        naive_parallel_attn(query, key, value, window_size=WINDOW)[0],
    )
    return sum(gate[..., None] * branch for gate, branch in zip(gates.sigmoid().unbind(-1), branches, strict=True))


def main():
    makes = {
        f"params/{name}_{part}": normal(*shape, seed=seed, scale=0.5)
        for seed, (name, part, shape) in enumerate(
            (name, part, shape)
            for name in ("key", "value")
            for part, shape in (("place", (K, BLOCK, H)), ("in", (K, BLOCK, H, H)), ("out", (K, H, H)))
        )
    }
    draw = partial(normal, B, T)
    write(
        "fla_nsa",
        package="flash-linear-attention",
        function="naive_nsa_compression, naive_nsa_topk, naive_nsa_selection and naive_parallel_attn",
        call=nsa,
        arrays={
            "query": draw(N, H, seed=11),
            "key": draw(K, H, seed=12),
            "value": draw(K, H, seed=13),
            "per_token/gates": draw(N, 3, seed=14),
            **makes,
        },
        variant=f"nsa:length={BLOCK},stride={BLOCK},block={BLOCK},selected={SELECTED},window={WINDOW}",
        mask="causal",
    )


if __name__ == "__main__":
    main()
