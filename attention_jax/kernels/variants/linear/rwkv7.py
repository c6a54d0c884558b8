"""S_t = S_{t-1} (diag(w_t) - c_t^T (a_t (.) c_t)) + v_t^T k'_t: Peng et al. 2025 (RWKV-7), section 4.

S is [Hv, J] there, and out_t = S_t r_t has no scale. From the key k_t and the per_token "gate" d_t and "rate" g_t come

- w_t = exp(-exp(-1/2) sigmoid(d_t)), a decay for each channel, between 0.545 and 1;
- a_t = sigmoid(g_t), a rate of learning in context for each channel;
- c_t = unit(k_t (.) removal), what is taken out; k'_t = k_t (.) (1 + (a_t - 1) (.) replacement), what is written.

The state that is asked for c_t has not decayed yet, unlike that of `kimi_delta`: c_t / w_t asks the same of the one
that has. The recipe is a GroupNorm of each head and the gate sigmoid(x A) B, through a bottleneck as wide as a head,
where the paper's grows with the model. Left out are the token shift before each projection, the bottlenecks of d and g,
the mixing of v with the first layer's, and the bonus.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.arrays import PER_CHANNEL, constant
from attention_jax.kernels.mechanism import Given, LinearRecurrence, to_statistics, unit
from attention_jax.kernels.recipe import Gate, Recipe
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.variants.linear.gates import CLAIMS


def _log_decay(key: Float[Array, "B S K J"], given: Given) -> Float[Array, "B S K J"]:
    return -math.exp(-0.5) * jax.nn.sigmoid(given.per_token["gate"])


def _written(key: Float[Array, "B S K J"], given: Given) -> Float[Array, "B S K J"]:
    rate = jax.nn.sigmoid(given.per_token["rate"])
    return to_statistics(key) * (1 + (rate - 1) * given.params["replacement"].astype(rate.dtype)[None, None])


def _erased(key: Float[Array, "B S K J"], given: Given) -> tuple[Array, Array]:
    key = to_statistics(key)
    taken = unit(key * given.params["removal"].astype(key.dtype)[None, None])
    return taken * jnp.exp(-_log_decay(key, given)), taken * jax.nn.sigmoid(given.per_token["rate"])


@register(
    source=Source(
        'RWKV-7 "Goose" with Expressive Dynamic State Evolution',
        "section 4, time mixing",
        authors=(
            "Peng, Bo and Zhang, Ruichong and Goldstein, Daniel and Alcaide, Eric and Du, Xingjian and Hou, Haowen and "
            "Lin, Jiaju and Liu, Jiaxing and Lu, Janna and Merrill, William and Song, Guangyu and Tan, Kaifeng and "
            "Utpala, Saiteja and Wilce, Nathan and Wind, Johan S. and Wu, Tianyi and Wuttke, Daniel and "
            "Zhou-Zheng, Christian"
        ),
        year=2025,
        arxiv="2503.14456",
    ),
    claims=CLAIMS,
    aliases=("goose",),
    recipe=Recipe(head_norm="group", gate=Gate(activation="linear", through="sigmoid")),
)
def rwkv7() -> LinearRecurrence:
    """The delta rule with a key of its own to take out, a decay and a rate for each channel (RWKV-7); no normaliser."""
    return LinearRecurrence(
        arrays={"removal": constant(0.85, "K", "J"), "replacement": constant(1.0, "K", "J")},
        per_token={"gate": PER_CHANNEL, "rate": PER_CHANNEL},
        prepare_key=_written,
        log_decay=_log_decay,
        erase=_erased,
    )
