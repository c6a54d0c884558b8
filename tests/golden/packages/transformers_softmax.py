"""`transformers`: what its models do to the logits, the normaliser or the maps of softmax attention."""

import numpy as np
import torch
from torch.func import functional_call
from transformers import DiffLlamaConfig, GptOssConfig, InklingTextConfig, Llama4TextConfig, Swinv2Config
from transformers.models.diffllama.modeling_diffllama import DiffLlamaAttention
from transformers.models.gemma2 import modeling_gemma2
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssAttention
from transformers.models.inkling.modeling_inkling import InklingAttention
from transformers.models.llama4.modeling_llama4 import Llama4TextAttention
from transformers.models.ministral3 import modeling_ministral3
from transformers.models.swinv2.modeling_swinv2 import Swinv2SelfAttention

from tests.golden.packages.case import normal, write
from tests.golden.packages.instead import causal_bias, given, no_rotation

TOKENS, HEADS, WIDTH = 10, 2, 6
ARRAYS = {
    "query": normal(2, TOKENS, HEADS, WIDTH),
    "key": normal(2, TOKENS, HEADS, WIDTH, seed=1),
    "value": normal(2, TOKENS, HEADS, WIDTH, seed=2),
}


def case(name, **said):
    """A case of this package."""
    write(f"transformers_{name}", package="transformers", **said)


def of_layer(layer, query, key, value, mask, rotation, weights=None):
    """What a layer of a decoder gives without its output projection, [B, T, all]."""
    layer = given(layer, q_proj=query, k_proj=key, v_proj=value)
    layer.o_proj = torch.nn.Identity()
    nothing = torch.zeros(*query.shape[:2], 1, dtype=torch.float64)
    words = {"position_embeddings": rotation, "attention_mask": mask}
    return functional_call(layer, weights or {}, (nothing,), words)[0]


def swinv2(query, key, value, log_beta):
    """Swin v2's layer on windows of 3 x 3; its bias by position is the same for all pairs, which changes nothing."""
    layer = Swinv2SelfAttention(Swinv2Config(), HEADS * WIDTH, HEADS, window_size=3)
    torch.nn.init.zeros_(layer.continuous_position_bias_mlp[2].weight)
    layer = given(layer, query=query, key=key, value=value)
    nothing = torch.zeros(2, 9, HEADS * WIDTH, dtype=torch.float64)
    return functional_call(layer, {"logit_scale": log_beta[:, None, None]}, (nothing,))[0].view(value.shape)


def gpt_oss(query, key, value, sink):
    """gpt-oss's layer, of which every other one has a window."""
    heads, key_heads = query.shape[2], key.shape[2]
    config = GptOssConfig(
        hidden_size=heads * WIDTH, num_attention_heads=heads, num_key_value_heads=key_heads, head_dim=WIDTH,
        num_hidden_layers=1, layer_types=["sliding_attention"], sliding_window=4, attn_implementation="eager",
    )  # fmt: skip
    near = causal_bias(TOKENS).masked_fill(torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril(-4), -1e300)
    rotation = no_rotation(TOKENS, WIDTH // 2)
    return of_layer(GptOssAttention(config, 0), query, key, value, near, rotation, {"sinks": sink}).view(query.shape)


def llama4(query, key, value):
    """A layer of Llama 4 without rotary positions, which has the temperature."""
    config = Llama4TextConfig(
        hidden_size=HEADS * WIDTH, num_attention_heads=HEADS, num_key_value_heads=HEADS, head_dim=WIDTH,
        num_hidden_layers=1, no_rope_layers=[0], attn_scale=0.5, floor_scale=3, attn_temperature_tuning=True,
        attn_implementation="eager",
    )  # fmt: skip
    return of_layer(Llama4TextAttention(config, 0), query, key, value, causal_bias(TOKENS), None).view(value.shape)


def inkling(query, key, value):
    """A layer of Inkling that sees all, without its norms, convolutions and bias; it divides logits by the width."""
    config = InklingTextConfig(
        hidden_size=HEADS * WIDTH, num_attention_heads=HEADS, num_key_value_heads=HEADS, head_dim=WIDTH, d_rel=1,
        num_hidden_layers=1, layer_types=["hybrid"], log_scaling_n_floor=3, log_scaling_alpha=0.5,
        attn_implementation="eager",
    )  # fmt: skip
    of_bias = torch.zeros(2, TOKENS, HEADS, dtype=torch.float64)
    layer = given(InklingAttention(config, 0), k_sconv=key, v_sconv=value, r_proj=of_bias)
    torch.nn.init.zeros_(layer.rel_logits_proj.proj)
    layer.q_norm = layer.k_norm = torch.nn.Identity()
    layer = given(layer, q_proj=query * WIDTH**0.5)
    layer.o_proj = torch.nn.Identity()
    nothing = torch.zeros(2, TOKENS, HEADS * WIDTH, dtype=torch.float64)
    return layer(nothing, causal_bias(TOKENS))[0].view(value.shape)


def ministral3(query, key, value):
    """Ministral 3's temperature."""
    scale = modeling_ministral3.get_llama_4_attn_scale(torch.arange(TOKENS)[None], 0.5, 3)
    query, key, value = (one.transpose(1, 2) for one in (query, key, value))
    return softmax_attention(modeling_ministral3, query * scale, key, value)


def softmax_attention(model, query, key, value, **words):
    """The attention of a model's layers, causal, heads before tokens."""

    class Ungrouped(torch.nn.Module):
        num_key_value_groups = 1
        head_dim = WIDTH

    layer = Ungrouped().eval()
    return model.eager_attention_forward(layer, query, key, value, causal_bias(TOKENS), scaling=WIDTH**-0.5, **words)[0]


def gemma2(query, key, value):
    """Gemma 2's attention."""
    three = (one.transpose(1, 2) for one in (query, key, value))
    return softmax_attention(modeling_gemma2, *three, softcap=2.0)


def diffllama(query, key, value, gain, lambda_init, **of_lambda):
    """DiffLlama's layer: the maps of a head are the heads n and n + N there, as are the halves of its values."""
    half = WIDTH // 2
    config = DiffLlamaConfig(
        hidden_size=2 * HEADS * half, num_attention_heads=2 * HEADS, num_key_value_heads=2 * HEADS, head_dim=half,
        rms_norm_eps=1e-5, attn_implementation="eager",
    )  # fmt: skip
    layer = DiffLlamaAttention(config, layer_idx=1)
    assert torch.isclose(lambda_init, torch.tensor(layer.lambda_init, dtype=torch.float64))
    halves = (torch.cat(one.chunk(2, dim=-1), dim=2) for one in (query, key, value))
    out = of_layer(layer, *halves, causal_bias(TOKENS), no_rotation(TOKENS, half), of_lambda)
    return out.view(value.shape)


def temperatures():
    """Llama 4, Inkling and Ministral 3."""
    late = "it sharpens by floor(t / N), one token later than Llama 4 by floor((t + 1) / N)"
    for call, function, options, differs in (
        (llama4, "Llama4TextAttention", "", None),
        (inkling, "InklingAttention", ",smooth=True", None),
        (ministral3, "get_llama_4_attn_scale", "", late),
    ):
        case(
            call.__name__,
            function=function,
            call=call,
            arrays=ARRAYS,
            mask="causal",
            variant=f"position_temperature:rate=0.5,start=3{options}",
            differs=differs,
        )


def main():
    temperatures()
    case(
        "swinv2",
        function="Swinv2SelfAttention",
        call=swinv2,
        arrays={
            **{name: one[:, :9] for name, one in ARRAYS.items()},
            "params/log_beta": np.log(np.array([3, 12], np.float32)),
        },
        variant="cosine",
    )
    case(
        "gpt_oss",
        function="GptOssAttention",
        call=gpt_oss,
        arrays={**ARRAYS, "query": normal(2, TOKENS, 2 * HEADS, WIDTH), "params/sink": normal(2 * HEADS, seed=3)},
        mask="causal & window(4)",
        variant="learned_sink",
    )
    case(
        "gemma2",
        function="eager_attention_forward of Gemma 2",
        call=gemma2,
        arrays={**ARRAYS, "query": 3 * ARRAYS["query"]},
        mask="causal",
        variant="softcap:cap=2.0",
    )
    names = ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")
    case(
        "diffllama",
        function="DiffLlamaAttention",
        call=diffllama,
        arrays={
            **ARRAYS,
            "params/gain": np.ones(WIDTH, np.float32),
            "params/lambda_init": np.array(0.8 - 0.6 * np.exp(-0.3), np.float32),
            **{f"params/{name}": 0.5 * normal(WIDTH // 2, seed=3 + at) for at, name in enumerate(names)},
        },
        still=("params/gain", "params/lambda_init"),
        mask="causal",
        variant="differential",
    )


if __name__ == "__main__":
    main()
