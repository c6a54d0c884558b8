"""Pure functions on arrays: `attend` computes any variant under any mask, or refuses what it cannot honour."""

from attention_jax.base.errors import Refused
from attention_jax.kernels.attend import Candidate, attend, explain, init
from attention_jax.kernels.cache import KeyValueCache, attend_cached
from attention_jax.kernels.mask import Blocks, Causal, Global, Padding, PrefixLM, Segments, Window
from attention_jax.kernels.mask_algebra import Dense, Mask
from attention_jax.kernels.mechanism import (
    FeatureMap,
    Features,
    Given,
    LinearRecurrence,
    Params,
    RowScore,
    SoftmaxScore,
    Widths,
)
from attention_jax.kernels.parallel import attend_sharded, zigzag
from attention_jax.kernels.pool import (
    Pooled,
    Pooling,
    PoolingClaims,
    PoolingGiven,
    lookup_pooling,
    pool,
    pooling_init,
    register_pooling,
)
from attention_jax.kernels.problem import AttentionOutput
from attention_jax.kernels.registry import Claims, Limit, Source, Variant, lookup, names, register

__all__ = [
    "AttentionOutput",
    "Blocks",
    "Candidate",
    "Causal",
    "Claims",
    "Dense",
    "FeatureMap",
    "Features",
    "Given",
    "Global",
    "KeyValueCache",
    "Limit",
    "LinearRecurrence",
    "Mask",
    "Padding",
    "Params",
    "Pooled",
    "Pooling",
    "PoolingClaims",
    "PoolingGiven",
    "PrefixLM",
    "Refused",
    "RowScore",
    "Segments",
    "SoftmaxScore",
    "Source",
    "Variant",
    "Widths",
    "Window",
    "attend",
    "attend_cached",
    "attend_sharded",
    "explain",
    "init",
    "lookup",
    "lookup_pooling",
    "names",
    "pool",
    "pooling_init",
    "register",
    "register_pooling",
    "zigzag",
]
