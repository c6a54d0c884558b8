"""The plain functions of `flash-linear-attention`: recurrences, with the state after the last token, and two softmaxes.

The package leaves the gates, the strengths and the norms of queries and keys to its layers; they are made here.
"""

import numpy as np
import torch
from fla.ops.delta_rule.naive import delta_rule_recurrence
from fla.ops.forgetting_attn.naive import naive_forgetting_attn
from fla.ops.gated_delta_product.naive import naive_recurrent_gated_delta_product
from fla.ops.gated_delta_rule.naive import naive_recurrent_gated_delta_rule
from fla.ops.generalized_delta_rule.dplr.naive import dplr_recurrence
from fla.ops.gla.naive import naive_recurrent_gla
from fla.ops.kda.naive import naive_recurrent_kda
from fla.ops.linear_attn.naive import naive_recurrent_linear_attn
from fla.ops.retention.naive import naive_retention
from fla.ops.simple_gla.naive import naive_recurrent_simple_gla
from fla.ops.stickbreaking_attn.naive import naive_stickbreaking_attn
from torch.nn.functional import elu, logsigmoid, normalize, softplus

from tests.golden.packages.case import normal, write

B, T, N, H, V = 2, 16, 2, 4, 3
TAU = 2.0


def heads_first(*arrays):
    return [array.transpose(1, 2) for array in arrays]


def linear(query, key, value):
    return naive_recurrent_linear_attn(elu(query) + 1, elu(key) + 1, value, normalize=True)[0]


def retention(query, key, value, log_decay):
    return naive_retention(*heads_first(query, key, value)).transpose(1, 2)


def gated_linear(query, key, value, gate):
    return naive_recurrent_gla(query, key, value, logsigmoid(gate) / TAU, output_final_state=True)


def gated_retention(query, key, value, gate):
    return naive_recurrent_simple_gla(query, key, value, logsigmoid(gate) / TAU)


def hgrn2(query, key, value, bounds, before):
    bound = (bounds.softmax(-1) * before).sum(-1)
    kept = bound + (1 - bound) * key.sigmoid()
    return naive_recurrent_gla(query * H**0.5, 1 - kept, value, kept.log(), output_final_state=True)


def mamba2(query, key, value, gate, log_rate, step_bias):
    step = softplus(gate + step_bias)
    return naive_recurrent_simple_gla(query, key, value * step[..., None], -log_rate.exp() * step, scale=1)


def delta_net(query, key, value, beta):
    units = heads_first(normalize(query, dim=-1), normalize(key, dim=-1), value)
    out, state = delta_rule_recurrence(*units, *heads_first(2 * beta.sigmoid()))
    return out.transpose(1, 2), state


def gated_delta_net(query, key, value, gate, beta, log_rate, step_bias):
    decay = -log_rate.exp() * softplus(gate + step_bias)
    units = normalize(query, dim=-1), normalize(key, dim=-1)
    return naive_recurrent_gated_delta_rule(*units, value, beta.sigmoid(), decay, output_final_state=True)


def kimi_delta(query, key, value, gate, beta, log_rate, step_bias):
    decay = -log_rate.exp()[:, None] * softplus(gate + step_bias)
    units = normalize(query, dim=-1), normalize(key, dim=-1)
    return naive_recurrent_kda(*units, value, decay, beta.sigmoid(), output_final_state=True)


def delta_product(query, key, value, beta, keys, values):
    """The package has the steps of a token one after another among the tokens."""
    keys = torch.cat([key[:, :, None], keys.movedim(3, 2)], 2).flatten(1, 2)
    values = torch.cat([value[:, :, None], values.movedim(3, 2)], 2).flatten(1, 2)
    strengths = (2 * beta.sigmoid()).movedim(3, 2).flatten(1, 2)
    units = normalize(query, dim=-1), normalize(keys, dim=-1)
    return naive_recurrent_gated_delta_product(*units, values, None, strengths, H**-0.5, num_householder=2)


def rwkv7(query, key, value, gate, rate, removal, replacement):
    """In float32: the package casts all arguments to it but one."""
    decay, rate = -(torch.e**-0.5) * gate.sigmoid(), rate.sigmoid()
    taken = normalize(key * removal, dim=-1)
    arrays = (query * H**0.5, key * (1 + (rate - 1) * replacement), value, -taken, taken * rate, decay)
    out, state = dplr_recurrence(*(array.float() for array in heads_first(*arrays)))
    return out.transpose(1, 2), state


def forgetting(query, key, value, gate):
    return naive_forgetting_attn(query, key, value, logsigmoid(gate).repeat_interleave(2, 2))


def stick_breaking(query, key, value):
    return naive_stickbreaking_attn(query, key, value)[0]


def stick_breaking_own(query, key, value):
    return naive_stickbreaking_attn(query, key, value, attend_current=True)[0]


def tokens(heads=N):
    """Some more query heads than key heads, or as many."""
    query, key, value = normal(B, T, heads, H), normal(B, T, N, H, seed=1), normal(B, T, N, V, seed=2)
    return {"query": query, "key": key, "value": value}


def per_head(name, seed, *more):
    return {f"per_token/{name}": normal(B, T, N, *more, seed=seed)}


def params(**arrays):
    return {f"params/{name}": array for name, array in arrays.items()}


def main():
    selective = params(log_rate=normal(N, seed=11), step_bias=normal(N, seed=12))
    by_channel = params(log_rate=normal(N, seed=11), step_bias=normal(N, H, seed=12))
    strength = per_head("beta", 4)
    of_steps = per_head("keys", 5, 1, H) | per_head("values", 6, 1, V) | per_head("beta", 4, 2)
    layer = params(bounds=normal(N, H, 3, seed=13), before=np.array([1, 1, 0], np.float32))
    rates = params(log_decay=np.log1p(-(2.0 ** np.array([-5, -6]))).astype(np.float32))
    erased = params(removal=normal(N, H, seed=14), replacement=normal(N, H, seed=15))
    for call, of_package, variant, more in (
        (linear, naive_recurrent_linear_attn, "linear", {}),
        (retention, naive_retention, "retention", rates),
        (gated_linear, naive_recurrent_gla, f"gated_linear:temperature={TAU}", per_head("gate", 3, H)),
        (gated_retention, naive_recurrent_simple_gla, f"gated_retention:temperature={TAU}", per_head("gate", 3)),
        (hgrn2, naive_recurrent_gla, "hgrn2:layers=3", layer),
        (mamba2, naive_recurrent_simple_gla, "mamba2", per_head("gate", 3) | selective),
        (delta_net, delta_rule_recurrence, "delta_net:max_beta=2", strength),
        (delta_product, naive_recurrent_gated_delta_product, "delta_product:steps=2", of_steps),
        (
            gated_delta_net,
            naive_recurrent_gated_delta_rule,
            "gated_delta_net",
            per_head("gate", 3) | strength | selective,
        ),
        (kimi_delta, naive_recurrent_kda, "kimi_delta", per_head("gate", 3, H) | strength | by_channel),
        (rwkv7, dplr_recurrence, "rwkv7", per_head("gate", 3, H) | per_head("rate", 7, H) | erased),
        (forgetting, naive_forgetting_attn, "forgetting", {**tokens(4), **per_head("gate", 3)}),
        (stick_breaking, naive_stickbreaking_attn, "stick_breaking", tokens(4)),
        (stick_breaking_own, naive_stickbreaking_attn, "stick_breaking:own=True", tokens(4)),
    ):
        write(
            f"fla_{call.__name__}",
            package="flash-linear-attention",
            function=of_package.__name__,
            call=call,
            arrays=tokens() | more,
            variant=variant,
            mask="causal",
            still=("params/before",),
        )


if __name__ == "__main__":
    main()
