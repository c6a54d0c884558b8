"""`transformers`: the linear recurrences of its models, by its own functions where it would call other packages."""

from functools import partial
from inspect import unwrap

import numpy as np
import torch
from torch.nn.functional import softplus
from transformers import MiniMaxConfig
from transformers.models.kimi_linear import modeling_kimi_linear
from transformers.models.mamba2.modeling_mamba2 import mamba2_chunk_scan
from transformers.models.minimax.modeling_minimax import MiniMaxLightningAttention
from transformers.models.qwen3_next import modeling_qwen3_next

from tests.golden.packages.case import normal, write
from tests.golden.packages.instead import given

TOKENS, HEADS, WIDTH = 10, 2, 4
ARRAYS = {
    "query": normal(2, TOKENS, HEADS, WIDTH),
    "key": normal(2, TOKENS, HEADS, WIDTH, seed=1),
    "value": normal(2, TOKENS, HEADS, WIDTH, seed=2),
}
GATE = normal(2, TOKENS, HEADS, seed=3)
# Long ones: the package adds 1e-6 to the square of a length before it divides by it.
LONG = {**ARRAYS, "query": 20 * ARRAYS["query"], "key": 20 * ARRAYS["key"]}
OF_GATE = {
    "params/log_rate": np.array([-1.0, 0.5], np.float32),
    "params/step_bias": np.array([0.3, -1.0], np.float32),
}


def case(name, **said):
    """A causal case of this package."""
    write(f"transformers_{name}", package="transformers", mask="causal", **said)


def mamba2(query, key, value, gate, log_rate, step_bias):
    """Mamba-2's scan in chunks of 4: C, B and x are queries, keys and values."""
    words = {"chunk_size": 4, "dt_bias": step_bias, "dt_softplus": True}
    return unwrap(mamba2_chunk_scan)(value, gate, -log_rate.exp(), key, query, **words)


def gated_delta(function, query, key, value, gate, beta, log_rate, step_bias):
    """Qwen3-Next's rule, with the gate and the strength of its layer."""
    decay = -log_rate.exp() * softplus(gate + step_bias)
    words = {"chunk_size": 4, "use_qk_l2norm_in_kernel": True}
    return unwrap(function)(query, key, value, g=decay, beta=beta.sigmoid(), **words)[0]


def kimi(function, query, key, value, gate, beta, log_rate, step_bias):
    """Kimi Linear's rule, with the gate and the strength of its layer."""
    decay = -log_rate.exp()[:, None] * softplus(gate + step_bias)
    words = {"chunk_size": 4, "initial_state": None, "output_final_state": False, "use_qk_l2norm_in_kernel": True}
    return unwrap(function)(query, key, value, g=decay, beta=beta.sigmoid(), **words)[0]


def lightning(query, key, value, log_decay):
    """MiniMax's lightning attention in blocks of 4, without its activation, norm and output gate, and unscaled."""
    config = MiniMaxConfig(
        hidden_size=HEADS * WIDTH, num_attention_heads=HEADS, head_dim=WIDTH, num_hidden_layers=2, block_size=4,
        layer_types=["linear_attention", "full_attention"],
    )  # fmt: skip
    layer = MiniMaxLightningAttention(config, layer_idx=0)
    assert torch.allclose(-layer.slope_rate.flatten(), log_decay.float())
    fused = torch.cat([query * WIDTH**-0.5, key, value], dim=-1)
    layer = given(layer, qkv_proj=fused, output_gate=torch.full(value.flatten(2).shape, torch.inf, dtype=torch.float64))
    layer.act_fn = layer.norm = layer.out_proj = torch.nn.Identity()
    return layer(value.flatten(2), None, None)[0].view(value.shape)


def main():
    case(
        "mamba2",
        function="mamba2_chunk_scan",
        call=mamba2,
        arrays={**ARRAYS, "per_token/gate": GATE, **OF_GATE},
        variant="mamba2",
    )
    beta = normal(2, TOKENS, HEADS, seed=4)
    for form, function in (
        ("chunk", modeling_qwen3_next.torch_chunk_gated_delta_rule),
        ("recurrent", modeling_qwen3_next.torch_recurrent_gated_delta_rule),
    ):
        case(
            f"qwen3_next_{form}",
            function=f"torch_{form}_gated_delta_rule",
            call=partial(gated_delta, function),
            arrays={**LONG, "per_token/gate": GATE, "per_token/beta": beta, **OF_GATE},
            variant="gated_delta_net",
        )
    for form, function in (
        ("chunk", modeling_kimi_linear.chunk_kimi_delta_attention),
        ("recurrent", modeling_kimi_linear.recurrent_kimi_delta_attention),
    ):
        case(
            f"kimi_linear_{form}",
            function=function.__name__,
            call=partial(kimi, function),
            arrays={
                **LONG,
                "per_token/gate": normal(2, TOKENS, HEADS, WIDTH, seed=3),
                "per_token/beta": beta,
                "params/log_rate": OF_GATE["params/log_rate"],
                "params/step_bias": normal(HEADS, WIDTH, seed=5),
            },
            variant="kimi_delta",
        )
    case(
        "minimax_lightning",
        function="MiniMaxLightningAttention",
        call=lightning,
        arrays={**ARRAYS, "params/log_decay": -np.array([2**-4, 2**-8], np.float32) * (1 + 1e-5)},
        still=("params/log_decay",),
        variant="retention",
    )


if __name__ == "__main__":
    main()
