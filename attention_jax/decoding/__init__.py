"""Continuing sequences: greedily, by sampling, by beam search, under constraints, over anything that advances."""

from attention_jax.decoding.beam import Hypotheses, beam_search, length_penalty
from attention_jax.decoding.constraints import AtLeast, Only, Together
from attention_jax.decoding.generate import Generated, generate
from attention_jax.decoding.protocol import Advance, Constrain, State
from attention_jax.decoding.sampling import GREEDY, Sampling
from attention_jax.decoding.stream import Piece, stream

__all__ = [
    "GREEDY",
    "Advance",
    "AtLeast",
    "Constrain",
    "Generated",
    "Hypotheses",
    "Only",
    "Piece",
    "Sampling",
    "State",
    "Together",
    "beam_search",
    "generate",
    "length_penalty",
    "stream",
]
