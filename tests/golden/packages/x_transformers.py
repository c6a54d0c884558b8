"""`x-transformers`: its `Attend`, which takes queries, keys and values, and its position encodings."""

from functools import partial

import numpy as np
import torch
from torch.func import functional_call
from x_transformers.attend import Attend
from x_transformers.x_transformers import (
    AlibiPositionalBias,
    CoPE,
    DataDependentAlibi,
    RelativePositionBias,
    RotaryEmbedding,
    apply_rotary_pos_emb,
    l2norm,
)

from tests.golden.packages.case import normal, write
from tests.golden.packages.instead import given

TOKENS, HEADS, WIDTH = 10, 2, 6
ARRAYS = {
    "query": normal(2, TOKENS, HEADS, WIDTH),
    "key": normal(2, TOKENS, HEADS, WIDTH, seed=1),
    "value": normal(2, TOKENS, HEADS, 5, seed=2),
}
SHARP = {**ARRAYS, "query": 3 * ARRAYS["query"]}
REAL = np.arange(TOKENS)[None] < np.array([TOKENS, 6])[:, None]
CAUSAL = {"causal": True}


def attended(module, query, key, value, weights=None, **words):
    """What a module gives whose heads come before the tokens, with these arrays in place of its own."""
    three = tuple(one.transpose(1, 2) for one in (query, key, value))
    out, _ = functional_call(module.double(), weights or {}, three, words)
    return out.transpose(1, 2)


def case(name, *, arrays=ARRAYS, call=None, function="Attend", mask=None, words=None, **said):
    """One of `Attend` with these words, causal where the mask is."""
    module = Attend(heads=HEADS, causal=mask == "causal", **(words or {}))
    call = call or attended
    file = f"x_transformers_{name}"
    write(
        file, package="x-transformers", function=function, call=partial(call, module), arrays=arrays, mask=mask, **said
    )


def talking(module, query, key, value, logits, weights):
    """Its mixture of logits is added to them, so that it is ours without the identity."""
    of_logits = (logits - torch.eye(HEADS)).T[:, :, None, None]
    mixtures = {
        "pre_softmax_talking_heads.weight": of_logits,
        "post_softmax_talking_heads.weight": weights.T[:, :, None, None],
    }
    return attended(module, query, key, value, mixtures)


def of_unit_length(module, query, key, value, log_beta):
    """Its `qk_norm` with a scale for each head."""
    return attended(module, l2norm(query) * log_beta.exp()[:, None], l2norm(key), value)


def with_sink(module, query, key, value, sink):
    """Its `head_learned_sink`."""
    return attended(module, query, key, value, {"head_attn_sink": sink})


def without_padding(module, query, key, value):
    """Its mask of keys."""
    return attended(module, query, key, value, mask=torch.from_numpy(REAL))


def numbers_seen(mask):
    """How many keys each query sees, [T, 1]."""
    return torch.arange(1, TOKENS + 1)[:, None] if mask == "causal" else torch.full((TOKENS, 1), TOKENS)


def biased_sigmoid(mask, module, query, key, value):
    """The paper's bias, which the package leaves to the caller."""
    return attended(module, query, key, value, attn_bias=-numbers_seen(mask).double().log())


def contextual(positions, module, query, key, value, table):
    """Its `CoPE` within its `Attend`."""
    module.cope = CoPE(WIDTH, HEADS, positions)
    return attended(module, query, key, value, {"cope.pos_emb": table.T})


def biased_by_distance(module, query, key, value, position_slopes):
    """Its `AlibiPositionalBias`, whose slopes it computes."""
    bias = AlibiPositionalBias(HEADS)
    assert torch.equal(bias.slopes.flatten().double(), position_slopes)
    return attended(module, query, key, value, attn_bias=bias.double()(TOKENS, TOKENS))


def biased_by_bucket(causal, module, query, key, value, position_table):
    """Its `RelativePositionBias`, T5's."""
    bias = RelativePositionBias(1.0, causal=causal, num_buckets=8, max_distance=6, heads=HEADS).double()
    table = {"relative_attention_bias.weight": position_table.T}
    return attended(module, query, key, value, attn_bias=functional_call(bias, table, (TOKENS, TOKENS)))


def forgetful(module, query, key, value, gate):
    """Its `DataDependentAlibi`, the forget gates of FoX, here without their projection."""
    bias = given(DataDependentAlibi(1, HEADS))
    bias.to_forget_gates[0] = torch.nn.Identity()
    return attended(module, query, key, value, attn_bias=bias(gate))


def turned(encoding, module, query, key, value):
    """Its `RotaryEmbedding`, xPos being its `use_xpos`."""
    angles, powers = encoding.double().forward_from_seq_len(TOKENS)
    of_keys = powers**-1
    by_head = (one.transpose(1, 2) for one in (query, key))
    query, key = (apply_rotary_pos_emb(one, angles, by) for one, by in zip(by_head, (powers, of_keys), strict=True))
    return attended(module, query.transpose(1, 2), key.transpose(1, 2), value)


def scores():
    """Each of the variants that change the logits or how they are normalised."""
    for suffix, mask in (("", None), ("_causal", "causal")):
        case(
            f"talking_heads{suffix}",
            call=talking,
            arrays={
                **ARRAYS,
                "params/logits": normal(HEADS, HEADS, seed=3),
                "params/weights": normal(HEADS, HEADS, seed=4),
            },
            mask=mask,
            variant="talking_heads",
            words={"pre_talking_heads": True, "post_talking_heads": True},
        )
        case(f"sparse_topk{suffix}", arrays=SHARP, mask=mask, variant="top_k:k=3", words={"sparse_topk": 3})
        case(
            f"sigmoid{suffix}",
            call=partial(biased_sigmoid, mask),
            mask=mask,
            variant="sigmoid",
            words={"sigmoid": True},
        )
    case(
        "softclamp",
        arrays=SHARP,
        mask="causal",
        variant="softcap:cap=2.0",
        words={"softclamp_logits": True, "logit_softclamp_value": 2.0},
    )
    case("hard", arrays=SHARP, variant="gumbel:hard=True", words={"hard": True})
    case("selective", arrays=SHARP, mask="causal", variant="selective", words={"selective": True})
    case("zero_kv", mask="causal", variant="softmax1", words={"add_zero_kv": True})
    case(
        "head_learned_sink",
        call=with_sink,
        arrays={**ARRAYS, "params/sink": normal(HEADS, seed=3)},
        variant="learned_sink",
        words={"head_learned_sink": True},
    )
    case(
        "qk_norm",
        call=of_unit_length,
        arrays={**ARRAYS, "params/log_beta": np.log(np.array([3, 10], np.float32))},
        variant="cosine",
        words={"qk_norm": True, "scale": 1.0},
    )
    case(
        "data_dependent_alibi",
        call=forgetful,
        function="DataDependentAlibi",
        arrays={**ARRAYS, "per_token/gate": normal(2, TOKENS, HEADS, seed=3)},
        mask="causal",
        variant="forgetting",
    )
    case("padding", call=without_padding, mask="causal", real=REAL)


def positions():
    """Each of the position encodings."""
    for mask in (None, "causal"):
        case(
            "alibi" if mask is None else "alibi_causal",
            call=biased_by_distance,
            function="AlibiPositionalBias",
            arrays={**ARRAYS, "params/position_slopes": np.array([2**-4, 2**-8], np.float32)},
            still=("params/position_slopes",),
            mask=mask,
            position_encoding="alibi",
        )
        case(
            "t5" if mask is None else "t5_causal",
            call=partial(biased_by_bucket, mask == "causal"),
            function="RelativePositionBias",
            arrays={**ARRAYS, "params/position_table": normal(HEADS, 8, seed=3)},
            mask=mask,
            position_encoding=f"t5:buckets=8,furthest=6,bidirectional={mask is None}",
        )
    for name, encoding, options in (
        ("rope", RotaryEmbedding(WIDTH), "rope:pairs=interleaved"),
        ("rope_partial", RotaryEmbedding(4), "rope:pairs=interleaved,fraction=0.6666667"),
        ("rope_ntk", RotaryEmbedding(WIDTH, base_rescale_factor=8), "rope:pairs=interleaved,scaling=ntk,factor=8.0"),
        ("xpos", RotaryEmbedding(WIDTH, use_xpos=True, scale_base=8), "xpos:pairs=interleaved,scale_base=8.0"),
    ):
        call = partial(turned, encoding)
        case(name, call=call, function="RotaryEmbedding", mask="causal", position_encoding=options)
    for name, count in (("cope", TOKENS), ("cope_clipped", 3)):
        case(
            name,
            call=partial(contextual, count),
            function="CoPE",
            arrays={**ARRAYS, "params/table": normal(WIDTH, count, seed=3)},
            mask="causal",
            variant=f"cope:positions={count}",
        )


def differing():
    """Where the package gives something else."""
    case(
        "sigmoid_without_bias",
        variant="sigmoid",
        words={"sigmoid": True},
        differs="no -log n is in its logits, so that the weights of a row do not sum to about 1",
    )
    case(
        "gqa",
        arrays={**ARRAYS, "query": normal(2, TOKENS, 2 * HEADS, WIDTH)},
        mask="causal",
        differs="query head n uses key head n mod K, where the paper and torch group those that follow each other",
    )


def main():
    scores()
    positions()
    differing()


if __name__ == "__main__":
    main()
