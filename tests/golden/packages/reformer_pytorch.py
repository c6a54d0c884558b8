"""`reformer-pytorch`: attention by hashing, with the variant's rotations in place of those that it draws."""

from functools import partial
from unittest.mock import patch

import torch
from reformer_pytorch import LSHAttention
from torch.nn.functional import pad

from tests.golden.packages.case import normal, write

B, N, H, ROUNDS, BUCKETS, CHUNK = 1, 2, 4, 2, 8, 4
TOKENS = BUCKETS * CHUNK
DIFFERS = "logits are divided by sqrt(H) too, and the first chunk of a round looks at the last one of the round before"


class WithPadding(LSHAttention):
    """Puts padding into the last bucket of each round, where the paper has nothing."""

    real: int

    def hash_vectors(self, n_buckets, vecs, **how):
        buckets = super().hash_vectors(n_buckets, vecs, **how).reshape(len(vecs), self.n_hashes, -1)
        last = (torch.arange(self.n_hashes) + 1) * n_buckets - 1
        buckets[..., self.real :] = last[:, None]
        return buckets.flatten(1)


def by_hash(query, key, value, rotations, causal, kind=LSHAttention):
    """Its first chunk looks at the last one: with `WithPadding` there is only padding in that, which is masked."""
    attention = kind(
        bucket_size=CHUNK,
        n_hashes=ROUNDS,
        causal=causal,
        allow_duplicate_attention=False,
        random_rotations_per_head=True,
    ).eval()
    attention.real = tokens = query.shape[1]
    query, value = (
        pad(array.transpose(1, 2).flatten(0, 1), (0, 0, 0, TOKENS - tokens), value=1.0) for array in (query, value)
    )
    drawn = rotations.transpose(1, 2).repeat(B, 1, 1, 1)
    real = (torch.arange(TOKENS) < tokens).repeat(len(query), 1)
    with patch.object(torch, "randn", lambda shape, **_: drawn.reshape(shape)):
        out = attention(query, value, input_mask=real)[0]
    return out[:, :tokens].unflatten(0, (B, N)).transpose(1, 2)


def without_scale(query, key, value, rotations, causal):
    """It divides the logits by sqrt(H)."""
    return by_hash(query * H**0.5, key, value, rotations, causal, WithPadding)


def main():
    for name, call, tokens, mask, differs in (
        ("reformer_lsh", without_scale, TOKENS - CHUNK, None, None),
        ("reformer_lsh_causal", without_scale, TOKENS - CHUNK, "causal", None),
        ("reformer_lsh_as_published", by_hash, TOKENS, None, DIFFERS),
    ):
        arrays = {of: normal(B, tokens, N, H, seed=seed) for seed, of in enumerate(("query", "key", "value"))}
        write(
            f"reformer_pytorch_{name}",
            package="reformer-pytorch",
            function="LSHAttention",
            call=partial(call, causal=mask == "causal"),
            arrays={**arrays, "params/rotations": normal(N, ROUNDS, H, BUCKETS // 2, seed=3)},
            variant=f"reformer_lsh:rounds={ROUNDS},buckets={BUCKETS},chunk={CHUNK}",
            mask=mask,
            differs=differs,
        )


if __name__ == "__main__":
    main()
