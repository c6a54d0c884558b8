"""The `entmax` package: sparsemax and alpha-entmax by sorting and by bisection, on scaled dot products."""

from functools import partial

import entmax
import torch

from tests.golden.packages.case import normal, write


def attention(normalise, query, key, value, **params):
    """The same scores for each, normalised by the package."""
    logits = torch.einsum("btnh,bsnh->bnts", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("bnts,bsnh->btnh", normalise(logits, **params), value)


def bisected(logits, alpha):
    """Each head has its own alpha, 1 + sigmoid of what is learned."""
    return entmax.entmax_bisect(logits, 1 + torch.sigmoid(alpha)[None, :, None, None], dim=-1, n_iter=60)


def main():
    arrays = {"query": normal(2, 9, 2, 6), "key": normal(2, 9, 2, 6, seed=1), "value": normal(2, 9, 2, 5, seed=2)}
    sharp = {**arrays, "query": 3 * arrays["query"]}
    for name, function in (("sparsemax", entmax.sparsemax), ("entmax15", entmax.entmax15)):
        call = partial(attention, partial(function, dim=-1))
        write(f"entmax_{name}", package="entmax", function=name, call=call, arrays=sharp, variant=name)
    write(
        "entmax_bisect",
        package="entmax",
        function="entmax_bisect",
        call=partial(attention, bisected),
        arrays={**sharp, "params/alpha": normal(2, seed=3, scale=0.4)},
        variant="entmax",
    )


if __name__ == "__main__":
    main()
