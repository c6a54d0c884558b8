"""Attention to a few blocks of keys: the tiles that a mask leaves are gathered into slabs, and met as one.

The loops are those of the blockwise engine. With small tiles little is computed that the mask hides, and in slabs the
matrix products stay large. One engine serves every pattern of blocks: random and strided ones (Zaheer et al. 2020,
BigBird), those chosen by content (Lu et al. 2025, MoBA; Yuan et al. 2025, NSA), narrow windows (Beltagy et al. 2020).
"""

from attention_jax.kernels.engines import blockwise
from attention_jax.kernels.engines.tiling import TileSizes, tile_size
from attention_jax.kernels.mask import Causal, Global, Window
from attention_jax.kernels.mask_algebra import And, Mask, Or, terms
from attention_jax.kernels.problem import AttentionOutput, Problem

# Chosen by measurement (docs/decisions.md).
QUERY_TILE = 64
KEY_TILE = 64
SLAB_KEYS = 512
# A unit of several heads has its small costs once, up to as many pairs of a query and a key.
PAIRS = 2**18
# A window that reaches further is met faster in the large tiles of the blockwise engine.
WIDEST_REACH = 768


def refusal(problem: Problem) -> str | None:
    """Returns why the gather engine cannot solve the problem, or None."""
    if sizes(problem) is None:
        return "the mask holds neither Blocks nor a narrow Window: there is nothing to gather"
    return blockwise.refusal(problem)


def run(problem: Problem) -> AttentionOutput:
    """Computes attention to the tiles that the mask leaves, gathered."""
    chosen = sizes(problem)
    assert chosen is not None
    return blockwise.solve(problem, chosen)


def sizes(problem: Problem) -> TileSizes | None:
    """Returns the tiles that suit the mask, or None where gathering does not."""
    queries, keys = problem.query.shape[1], problem.key.shape[1]
    groups = problem.query.shape[2] // problem.key.shape[2]
    blocks = [rule.blocks for rule in terms(problem.mask) if rule.blocks]
    if blocks:
        query_block, key_block = min(blocks, key=lambda sizes: sizes[1])
        key_tile = min(key_block, keys)
        slab = max(1, min(SLAB_KEYS // key_tile, -(-keys // key_tile)))
        wanted = max(query_block, KEY_TILE // groups)
        return TileSizes(tile_size(queries, wanted), key_tile, slab)
    reach = None if problem.mask is None else _reach(problem.mask)
    if reach is None or reach > WIDEST_REACH:
        return None
    query_tile = tile_size(queries, max(16, QUERY_TILE // groups))
    key_tile = tile_size(keys, KEY_TILE)
    slab = -(-(query_tile + reach - 1) // key_tile)
    heads = _heads(problem.key.shape[2], groups * query_tile * slab * key_tile)
    return TileSizes(query_tile, key_tile, slab, heads) if slab * key_tile < keys else None


def _heads(kv_heads: int, pairs: int) -> int:
    """How many key heads to meet at once where each has so many pairs."""
    return max(n for n in range(1, kv_heads + 1) if kv_heads % n == 0 and (n == 1 or n * pairs <= PAIRS))


def _reach(mask: Mask) -> int | None:
    """How many keys about its own position a query sees at most, a few global ones left out; None for no bound."""
    if isinstance(mask, Window):
        return 2 * mask.size
    if isinstance(mask, Global):
        return 0
    if isinstance(mask, And):
        reaches = [reach for reach in map(_reach, mask.terms) if reach is not None]
        shortest = min(reaches, default=None)
        causal = any(isinstance(rule, Causal) for rule in terms(mask))
        return shortest // 2 if shortest is not None and causal else shortest
    if isinstance(mask, Or):
        reaches = [reach for reach in map(_reach, mask.terms) if reach is not None]
        return max(reaches) if len(reaches) == len(mask.terms) else None
    return None
