"""Pure functions on arrays: `attend` computes any variant under any mask, or refuses what it cannot honour."""

from attention_jax.base.errors import Refused
from attention_jax.kernels.alignment import Alignment, Looked
from attention_jax.kernels.arrays import (
    PER_CHANNEL,
    PER_HEAD,
    Declared,
    Params,
    PerToken,
    Sizes,
    constant,
    normal,
)
from attention_jax.kernels.attend import Candidate, attend, explain, init
from attention_jax.kernels.attend_pair import (
    Pair,
    PairClaims,
    Paired,
    PairGiven,
    attend_pair,
    by_place,
    lookup_pair,
    pair_init,
    register_pair,
)
from attention_jax.kernels.cache import KeyValueCache, attend_cached
from attention_jax.kernels.composition import Composition, Solve, on_other_tokens, part
from attention_jax.kernels.mask import Blocks, Causal, Global, Padding, PrefixLM, Segments, Window
from attention_jax.kernels.mask_algebra import Dense, Mask
from attention_jax.kernels.mechanism import (
    FeatureMap,
    Features,
    Given,
    LinearRecurrence,
    Rows,
    RowScore,
    SoftmaxScore,
    dot,
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
from attention_jax.kernels.position import (
    Position,
    PositionClaims,
    distances,
    embed_positions,
    lookup_position,
    register_position,
    with_bias,
)
from attention_jax.kernels.problem import AttentionOutput
from attention_jax.kernels.recipe import Gate, Recipe
from attention_jax.kernels.registry import Claims, Limit, Source, Variant, lookup, names, register
from attention_jax.kernels.ring import reach_of
from attention_jax.kernels.sink import with_sink
from attention_jax.kernels.softmax import masked_softmax

__all__ = [
    "PER_CHANNEL",
    "PER_HEAD",
    "Alignment",
    "AttentionOutput",
    "Blocks",
    "Candidate",
    "Causal",
    "Claims",
    "Composition",
    "Declared",
    "Dense",
    "FeatureMap",
    "Features",
    "Gate",
    "Given",
    "Global",
    "KeyValueCache",
    "Limit",
    "LinearRecurrence",
    "Looked",
    "Mask",
    "Padding",
    "Pair",
    "PairClaims",
    "PairGiven",
    "Paired",
    "Params",
    "PerToken",
    "Pooled",
    "Pooling",
    "PoolingClaims",
    "PoolingGiven",
    "Position",
    "PositionClaims",
    "PrefixLM",
    "Recipe",
    "Refused",
    "RowScore",
    "Rows",
    "Segments",
    "Sizes",
    "SoftmaxScore",
    "Solve",
    "Source",
    "Variant",
    "Window",
    "attend",
    "attend_cached",
    "attend_pair",
    "attend_sharded",
    "by_place",
    "constant",
    "distances",
    "dot",
    "embed_positions",
    "explain",
    "init",
    "lookup",
    "lookup_pair",
    "lookup_pooling",
    "lookup_position",
    "masked_softmax",
    "names",
    "normal",
    "on_other_tokens",
    "pair_init",
    "part",
    "pool",
    "pooling_init",
    "reach_of",
    "register",
    "register_pair",
    "register_pooling",
    "register_position",
    "with_bias",
    "with_sink",
    "zigzag",
]
