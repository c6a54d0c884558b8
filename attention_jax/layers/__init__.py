"""Flax Linen modules over the kernels: projections around any attention variant, feed-forward, norms, blocks."""

from attention_jax.layers.attention import Attention, require_causal
from attention_jax.layers.backbone import Backbone
from attention_jax.layers.block import Block
from attention_jax.layers.embeddings import PositionEmbedding, TokenEmbedding
from attention_jax.layers.feed_forward import FeedForward
from attention_jax.layers.pooling import Pooling

__all__ = [
    "Attention",
    "Backbone",
    "Block",
    "FeedForward",
    "Pooling",
    "PositionEmbedding",
    "TokenEmbedding",
    "require_causal",
]
