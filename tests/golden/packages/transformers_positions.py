"""`transformers`: the position encodings of its models, by their attention layers."""

from functools import partial

import numpy as np
import torch
from torch.func import functional_call
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    BloomConfig,
    DebertaConfig,
    DebertaV2Config,
    GlmConfig,
    LlamaConfig,
    T5Config,
    Wav2Vec2BertConfig,
    XLNetConfig,
    XLNetModel,
)
from transformers.models.bloom.modeling_bloom import BloomAttention, build_alibi_tensor
from transformers.models.deberta import modeling_deberta
from transformers.models.deberta_v2 import modeling_deberta_v2
from transformers.models.glm import modeling_glm
from transformers.models.gptj import modeling_gptj
from transformers.models.llama import modeling_llama
from transformers.models.t5.modeling_t5 import T5Attention
from transformers.models.wav2vec2_bert.modeling_wav2vec2_bert import Wav2Vec2BertSelfAttention

from tests.golden.packages.case import normal, write
from tests.golden.packages.instead import causal_bias, given

TOKENS, HEADS, WIDTH = 10, 2, 4
ALL = HEADS * WIDTH


def three(tokens=TOKENS, heads=HEADS, width=WIDTH):
    """Queries, keys and values, which such layers make equally wide."""
    return {name: normal(2, tokens, heads, width, seed=seed) for seed, name in enumerate(("query", "key", "value"))}


def case(name, **said):
    """A case of this package."""
    write(f"transformers_{name}", package="transformers", **said)


def t5(config, query, key, value, position_table):
    """T5's layer, with a table of [N, buckets]."""
    layer = given(T5Attention(config, has_relative_attention_bias=True, layer_idx=0), q=query, k=key, v=value)
    layer.o = torch.nn.Identity()
    mask = causal_bias(query.shape[1]) if config.is_decoder else None
    table = {"relative_attention_bias.weight": position_table.T}
    return functional_call(layer, table, (torch.zeros(*query.shape[:2], 1),), {"mask": mask})[0].view(value.shape)


def wav2vec2_bert(query, key, value, position_keys):
    """Wav2Vec2-BERT's layer, with Shaw's vectors for the keys alone."""
    config = Wav2Vec2BertConfig(
        hidden_size=ALL, num_attention_heads=HEADS, position_embeddings_type="relative_key",
        left_max_position_embeddings=3, right_max_position_embeddings=3, attn_implementation="eager",
    )  # fmt: skip
    layer = given(Wav2Vec2BertSelfAttention(config), linear_q=query, linear_k=key, linear_v=value)
    layer.linear_out = torch.nn.Identity()
    nothing = torch.zeros(2, TOKENS, ALL, dtype=torch.float64)
    return functional_call(layer, {"distance_embedding.weight": position_keys}, (nothing,))[0].view(value.shape)


def xlnet(mask, query, key, value, position_u, position_v, position_projection):
    """XLNet's core, with its own sinusoids of distances, which are as wide as the model."""
    width = position_projection.shape[-1]
    config = XLNetConfig(vocab_size=8, d_model=width, n_head=2, n_layer=1, d_inner=4, d_head=width // 2)
    model = XLNetModel(config).double().eval()
    layer = model.layer[0].rel_attn
    layer.scale = query.shape[-1] ** -0.5
    tokens = query.shape[1]
    distances = model.relative_positional_encoding(tokens, tokens).double()
    projected = torch.einsum("ibf,nhf->ibnh", distances, position_projection).expand(-1, query.shape[0], -1, -1)
    hidden = torch.ones(tokens, tokens).triu(1)[:, :, None, None].double() if mask else None
    layer.r_w_bias, layer.r_r_bias = (torch.nn.Parameter(torch.zeros(HEADS, WIDTH).double()) for _ in range(2))
    words = {"attn_mask": hidden}
    return run_core(layer, (position_u, position_v), (query, key, value), projected, words)


def run_core(layer, biases, three, projected, words):
    """`rel_attn_core` with these biases, whose tokens come before the sequences."""

    class Core(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, *arrays):
            return self.layer.rel_attn_core(*arrays, **words)

    weights = dict(zip(("layer.r_w_bias", "layer.r_r_bias"), biases, strict=True))
    arrays = (*(one.transpose(0, 1) for one in three), projected)
    return functional_call(Core(), weights, arrays).transpose(0, 1)


def by_distance(table):
    """A table of positions [K, 2k, H] as a projection of embeddings gives it, [1, 2k, K H]."""
    return table.transpose(0, 1).flatten(1)[None]


def mirrored(table):
    """A table whose entry for i - j is that for j - i; the first, of the furthest before, has no other side."""
    return torch.cat([table[:, :1], table[:, 1:].flip(1)], dim=1)


def deberta(of_queries, clip, query, key, value, position_keys, position_queries):
    """DeBERTa's layer: queries, keys and values of a head follow each other in one projection."""
    config = DebertaConfig(
        hidden_size=ALL, num_attention_heads=HEADS, relative_attention=True, max_relative_positions=clip,
        pos_att_type=["c2p", "p2c"],
    )  # fmt: skip
    layer = given(
        modeling_deberta.DisentangledSelfAttention(config),
        in_proj=torch.cat([query, key, value], dim=-1),
        pos_proj=by_distance(position_keys),
        pos_q_proj=by_distance(of_queries(position_queries)),
    )
    return disentangled(layer, modeling_deberta.build_relative_position(query[:, :, 0], query[:, :, 0]), clip, value)


def deberta_v2(of_queries, clip, query, key, value, position_keys, position_queries):
    """DeBERTa-v2's layer, without its buckets."""
    config = DebertaV2Config(
        hidden_size=ALL, num_attention_heads=HEADS, relative_attention=True, max_relative_positions=clip,
        pos_att_type=["c2p", "p2c"],
    )  # fmt: skip
    layer = given(
        modeling_deberta_v2.DisentangledSelfAttention(config),
        query_proj=query,
        key_proj=key,
        value_proj=value,
        pos_key_proj=by_distance(position_keys),
        pos_query_proj=by_distance(of_queries(position_queries)),
    )
    return disentangled(layer, None, clip, value)


def disentangled(layer, relative, clip, value):
    """What a layer gives whose embeddings of positions are projected already."""
    tokens = value.shape[1]
    embeddings = torch.zeros(2 * clip, ALL, dtype=torch.float64)
    seen = torch.ones(1, 1, tokens, tokens)
    out, _ = layer(torch.zeros(2, tokens, ALL), seen, relative_pos=relative, rel_embeddings=embeddings)
    return out.view(value.shape)


def bloom(query, key, value, position_slopes):
    """BLOOM's layer, which adds slope times position of the key: the same to a softmax under a causal mask."""
    batch, tokens, heads, width = query.shape
    fused = torch.stack([query, key, value], dim=3).flatten(2)
    layer = given(
        BloomAttention(BloomConfig(hidden_size=heads * width, n_head=heads), layer_idx=0), query_key_value=fused
    )
    layer.dense = torch.nn.Identity()
    by_key = build_alibi_tensor(torch.ones(batch, tokens), heads, torch.float64)
    nothing = torch.zeros(batch, tokens, heads * width, dtype=torch.float64)
    out, _ = layer(nothing, nothing, by_key, causal_bias(tokens))
    assert torch.allclose(by_key.view(batch, heads, -1)[0, :, 1], position_slopes)
    return out.view(value.shape)


def llama(config, query, key, value, model=modeling_llama):
    """The rotary embedding of Llama, whose scalings all later models share, or of another model like it."""
    embedding = getattr(model, f"{type(config).__name__.removesuffix('Config')}RotaryEmbedding")(config)
    by_head = [one.transpose(1, 2) for one in (query, key)]
    at = embedding(query, torch.arange(query.shape[1])[None])
    query, key = model.apply_rotary_pos_emb(*by_head, *at)
    return scaled_dot_product_attention(query, key, value.transpose(1, 2), is_causal=True).transpose(1, 2)


def gptj(query, key, value):
    """The rotary embedding of GPT-J."""
    table = modeling_gptj.create_sinusoidal_positions(query.shape[1], query.shape[-1])[None]
    sines, cosines = table.split(table.shape[-1] // 2, dim=-1)
    query, key = (modeling_gptj.apply_rotary_pos_emb(one, sines, cosines).transpose(1, 2) for one in (query, key))
    return scaled_dot_product_attention(query, key, value.transpose(1, 2), is_causal=True).transpose(1, 2)


def rotary(config_class=LlamaConfig, *, width=8, longest=64, **parameters):
    """A configuration whose rotary embedding has these parameters."""
    return config_class(
        hidden_size=HEADS * width, num_attention_heads=HEADS, num_key_value_heads=HEADS, head_dim=width,
        max_position_embeddings=longest, rope_parameters={"rope_theta": 10000.0, **parameters},
    )  # fmt: skip


def relative():
    """Biases and tables by distance."""
    for name, is_decoder, tokens in (("t5", False, 20), ("t5_causal", True, 20)):
        config = T5Config(
            d_model=ALL, d_kv=2, num_heads=HEADS, relative_attention_num_buckets=8,
            relative_attention_max_distance=16, is_decoder=is_decoder, dropout_rate=0.0,
        )  # fmt: skip
        case(
            name,
            function="T5Attention",
            call=partial(t5, config),
            arrays={**three(tokens, width=2), "params/position_table": normal(HEADS, 8, seed=3)},
            mask="causal" if is_decoder else None,
            variant="scaled_dot:scale=1.0",
            position_encoding=f"t5:buckets=8,furthest=16,bidirectional={not is_decoder}",
        )
        mask = "causal" if is_decoder else None
        case(
            name.replace("t5", "xlnet"),
            function="XLNetRelativeAttention.rel_attn_core",
            call=partial(xlnet, mask),
            arrays={
                **three(),
                "params/position_u": normal(HEADS, WIDTH, seed=3),
                "params/position_v": normal(HEADS, WIDTH, seed=4),
                "params/position_projection": normal(HEADS, WIDTH, 12, seed=5),
            },
            mask=mask,
            position_encoding="transformer_xl:width=12",
        )
    case(
        "wav2vec2_bert",
        function="Wav2Vec2BertSelfAttention",
        call=wav2vec2_bert,
        arrays={**three(), "params/position_keys": normal(7, WIDTH, seed=3)},
        position_encoding="shaw:clip=3,values=false",
    )
    case(
        "bloom",
        function="BloomAttention",
        call=bloom,
        arrays={**three(heads=3), "params/position_slopes": np.array([2**-4, 2**-8, 2**-2], np.float32)},
        still=("params/position_slopes",),
        mask="causal",
        position_encoding="alibi",
    )


def disentangled_cases():
    """DeBERTa: its position to content goes by the distance that the query sees."""
    for name, call, of_queries, clip, differs in (
        ("deberta", deberta, mirrored, TOKENS, None),
        ("deberta_v2", deberta_v2, mirrored, TOKENS, None),
        (
            "deberta_as_it_is",
            deberta,
            lambda table: table,
            TOKENS,
            "position to content goes by the distance from the query, i - j, where the paper has j - i",
        ),
    ):
        tables = normal(HEADS, 2 * clip, WIDTH, seed=3), normal(HEADS, 2 * clip, WIDTH, seed=4)
        case(
            name,
            function="DisentangledSelfAttention",
            call=partial(call, of_queries, clip),
            arrays={**three(), "params/position_keys": tables[0], "params/position_queries": tables[1]},
            position_encoding=f"deberta:clip={clip}",
            differs=differs,
        )


def rotations():
    """Rotary embeddings, in both orders of pairs, whole and partial, and scaled."""
    eight = three(tokens=12, width=8)
    # With this base the ramp begins behind the second pair and does not reach its end.
    yarn = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 1024}
    # The package makes a factor of 2 that of 12 tokens after 8: 2 * 12 / 8 - 1.
    dynamic = {"rope_type": "dynamic", "factor": 2.0}
    for name, config, encoding in (
        ("llama_rope", rotary(rope_type="default"), "rope"),
        ("llama_rope_yarn", rotary(longest=4096, **yarn), "rope:base=100,scaling=yarn,factor=4.0,original=1024"),
        ("llama_rope_dynamic", rotary(longest=8, **dynamic), "rope:scaling=ntk,factor=2.0"),
    ):
        case(
            name,
            function="LlamaRotaryEmbedding",
            call=partial(llama, config),
            arrays=eight,
            mask="causal",
            position_encoding=encoding,
        )
    partly = rotary(GlmConfig, rope_type="default", partial_rotary_factor=0.5)
    case(
        "glm_rope",
        function="GlmRotaryEmbedding",
        call=partial(llama, partly, model=modeling_glm),
        arrays=eight,
        mask="causal",
        position_encoding="rope:pairs=interleaved,fraction=0.5",
    )
    case(
        "gptj_rope",
        function="apply_rotary_pos_emb",
        call=gptj,
        arrays=three(),
        mask="causal",
        position_encoding="rope:pairs=interleaved",
    )


def main():
    relative()
    disentangled_cases()
    rotations()


if __name__ == "__main__":
    main()
