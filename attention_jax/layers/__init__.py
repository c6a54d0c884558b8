"""Flax Linen modules over the kernels: projections around any attention variant, feed-forward, norms, stacks."""

from attention_jax.layers.attention import Attention, Mixed, Seen
from attention_jax.layers.block import Block
from attention_jax.layers.embeddings import Embedding, PositionEmbedding, TokenEmbedding
from attention_jax.layers.feed_forward import FeedForward
from attention_jax.layers.mixer import MixerClaims, register_mixer, require_causal
from attention_jax.layers.pooling import Pooling
from attention_jax.layers.recurrent import Recurrent, RecurrentOptions
from attention_jax.layers.stack import Stack
from attention_jax.layers.stack_options import StackOptions

__all__ = [
    "Attention",
    "Block",
    "Embedding",
    "FeedForward",
    "Mixed",
    "MixerClaims",
    "Pooling",
    "PositionEmbedding",
    "Recurrent",
    "RecurrentOptions",
    "Seen",
    "Stack",
    "StackOptions",
    "TokenEmbedding",
    "register_mixer",
    "require_causal",
]
