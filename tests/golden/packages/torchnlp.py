"""`pytorch-nlp`: the weights of Luong's attention; what it does with the context after them is the model's."""

from functools import partial

import torch
from torchnlp.nn import Attention

from tests.golden.packages.case import normal, write

B, T, S, N, H = 2, 7, 9, 2, 4


def luong(query, key, value, kind, weight=None):
    heads = []
    for head in range(N):
        attention = Attention(H, kind).double()
        if weight is not None:
            del attention.linear_in.weight
            attention.linear_in.weight = weight[head].T
        _, weights = attention(query[:, :, head].contiguous(), key[:, :, head].contiguous())
        heads.append(weights @ value[:, :, head])
    return torch.stack(heads, 2)


def main():
    arrays = {"query": normal(B, T, N, H), "key": normal(B, S, N, H, seed=1), "value": normal(B, S, N, H, seed=2)}
    for kind, params in (("dot", {}), ("general", {"params/weight": normal(N, H, H, seed=3)})):
        write(
            f"torchnlp_{kind}",
            package="pytorch-nlp",
            function="Attention",
            call=partial(luong, kind=kind),
            arrays=arrays | params,
            variant=kind,
        )


if __name__ == "__main__":
    main()
