"""torch itself: `scaled_dot_product_attention`, and `gumbel_softmax` without its noise."""

from functools import partial

import torch
from torch.nn.functional import gumbel_softmax, scaled_dot_product_attention

from tests.golden.packages.case import normal, write


def attention(query, key, value, **words):
    """torch's, whose heads come before the tokens."""
    out = scaled_dot_product_attention(*(one.transpose(1, 2) for one in (query, key, value)), **words)
    return out.transpose(1, 2)


def straight_through(tau, query, key, value):
    """One key for each query by torch's `gumbel_softmax`, each of whose draws of noise is exp(1) = e^-0: noise of 0."""
    logits = torch.einsum("btnh,bsnh->bnts", query, key) / query.shape[-1] ** 0.5
    drawn, torch.Tensor.exponential_ = torch.Tensor.exponential_, lambda self: self.fill_(1.0)
    try:
        weights = gumbel_softmax(logits, tau=tau, hard=True, dim=-1)
    finally:
        torch.Tensor.exponential_ = drawn
    return torch.einsum("bnts,bsnh->btnh", weights, value)


def near_or_first(queries, keys):
    """True where a key is less than 4 tokens away and not behind, or one side is the first token."""
    query, key = torch.arange(queries)[:, None], torch.arange(keys)[None]
    return (query - key < 4) & (key <= query) | (query < 1) | (key < 1)


def main():
    of_packages = partial(write, package="torch")
    attending = partial(of_packages, function="scaled_dot_product_attention")
    arrays = {"query": normal(2, 10, 2, 6), "key": normal(2, 10, 2, 6, seed=1), "value": normal(2, 10, 2, 5, seed=2)}
    attending("torch_scaled_dot", call=attention, arrays=arrays)
    attending("torch_scaled_dot_causal", call=partial(attention, is_causal=True), arrays=arrays, mask="causal")
    attending(
        "torch_scaled_dot_bool_mask",
        call=partial(attention, attn_mask=near_or_first(10, 10)),
        arrays=arrays,
        mask="causal & window(4) | global(1)",
    )
    real = torch.arange(10)[None] < torch.tensor([10, 6])[:, None]
    attending(
        "torch_scaled_dot_padding",
        call=partial(attention, attn_mask=real[:, None, None]),
        arrays=arrays,
        real=real.numpy(),
    )
    attending(
        "torch_scaled_dot_gqa",
        call=partial(attention, enable_gqa=True, is_causal=True),
        arrays={**arrays, "query": normal(2, 10, 6, 6)},
        mask="causal",
    )
    attending(
        "torch_scaled_dot_cross",
        call=partial(attention, scale=0.7),
        arrays={**arrays, "query": normal(2, 7, 2, 6)},
        variant="scaled_dot:scale=0.7",
    )
    of_packages(
        "torch_gumbel_without_noise",
        function="gumbel_softmax",
        call=partial(straight_through, 0.5),
        arrays=arrays,
        variant="gumbel:tau=0.5,hard=True",
    )


if __name__ == "__main__":
    main()
