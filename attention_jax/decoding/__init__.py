"""Continuing sequences: greedily, by sampling, by beam search, under constraints, over anything that advances."""

from attention_jax.decoding.beam import Hypotheses, beam_search, length_penalty
from attention_jax.decoding.constraints import AtLeast, Only, Together
from attention_jax.decoding.generate import Generated, generate
from attention_jax.decoding.prompted import Prompted, advance_of, check_room, has_memory, prompted, room
from attention_jax.decoding.protocol import Advance, Constrain, State
from attention_jax.decoding.sampling import GREEDY, Sampling
from attention_jax.decoding.stream import Piece, stream
from attention_jax.decoding.unscanned import unscanned

__all__ = [
    "GREEDY",
    "Advance",
    "AtLeast",
    "Constrain",
    "Generated",
    "Hypotheses",
    "Only",
    "Piece",
    "Prompted",
    "Sampling",
    "State",
    "Together",
    "advance_of",
    "beam_search",
    "check_room",
    "generate",
    "has_memory",
    "length_penalty",
    "prompted",
    "room",
    "stream",
    "unscanned",
]
