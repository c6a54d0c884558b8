"""Which mechanisms of the field are here: each of its rows by the names it has in the catalogues, or what it waits for.

The rows are those of the survey that the project goes by, in its order: 1 to 61 what was published up to 2024, 62 to 83
what the models of 2025 and 2026 attend with.
"""

import pytest

from attention_jax.layers.kinds import KINDS

# The names of a row, or, in words, what has to come first.
ROWS: dict[int, tuple[str, ...] | str] = {
    1: ("scaled_dot",),
    2: ("scaled_dot",),  # with fewer key heads than query heads
    3: ("mla",),
    4: ("sliding_window",),
    5: ("scaled_dot",),  # with the masks PrefixLM and Segments
    6: ("learned_sink", "softmax1"),
    7: ("softcap",),
    8: ("cosine",),
    9: ("alibi",),
    10: ("t5",),
    11: ("rope", "xpos"),
    12: ("shaw",),
    13: ("transformer_xl",),
    14: ("deberta",),
    15: ("complex_order",),
    16: ("cope",),
    17: ("talking_heads",),
    18: ("differential",),
    19: ("sigmoid",),
    20: ("relu_squared",),
    21: ("sparsemax",),
    22: ("entmax15", "entmax"),
    23: ("top_k",),
    24: ("hard",),
    25: ("gumbel",),
    26: ("stick_breaking",),
    27: ("selective",),
    28: ("forgetting",),
    29: "PaTH: a composition over a recurrence",
    30: ("additive",),
    31: ("dot", "general", "concat", "location"),
    32: ("local_m", "local_p"),
    33: ("location_sensitive", "ntm"),
    34: ("monotonic",),
    35: ("mocha", "milk"),
    36: ("pointer", "copy"),
    37: ("bidaf", "co_attention"),
    38: ("abcnn_1", "abcnn_2", "abcnn_3"),
    39: ("self_attentive", "gated_pooling", "multihead_pooling", "by_query"),
    40: "memory hops: a loop of a model",
    41: "a block of one's own and the one before: a mask of sizes",
    42: ("longformer",),
    43: ("bigbird",),
    44: ("strided", "fixed"),
    45: ("axial", "neighbourhood", "swin"),
    46: "LongT5's transient globals: a composition",
    47: ("reformer_lsh",),
    48: ("routing",),
    49: "Sinkhorn sorting: a composition",
    50: ("clustered",),
    51: "ProbSparse and auto-correlation: compositions",
    52: ("nsa",),
    53: ("moba",),
    54: "DSA: a composition with an indexer",
    55: ("linformer",),
    56: ("nystrom",),
    57: ("performer",),
    58: ("linear", "cosformer"),
    59: ("retention", "gated_retention", "gated_linear", "mamba2", "hgrn2"),
    60: ("delta_net", "gated_delta_net", "kimi_delta", "delta_product"),
    61: "Luna, ISAB, Perceiver, slots, synthesizer, XCA, YOSO: compositions and mixers",
    62: ("scaled_dot",),  # with recipe=gated, gated_by_head
    63: ("scaled_dot",),  # with recipe=canon
    64: "patterns of layers: a stack's option",
    65: "CSA and HCA: compositions over compressed tokens",
    66: "block indexers: options of one indexed composition",
    67: ("scalable_softmax", "position_temperature"),
    68: ("rwkv7",),
    69: ("delta_net", "gated_delta_net", "kimi_delta"),  # with max_beta=2
    70: "Mamba-3: a recurrence",
    71: "Titans: a recurrence with inner gradients",
    72: "value residuals: a channel across layers",
    73: ("tpa",),
    74: ("differential_v2",),
    75: ("softpick",),
    76: "power attention: a row normaliser and a recurrence",
    77: "log-linear: a recurrence with states by level",
    78: "MesaNet: a recurrence with a solve",
    79: "Comba: a recurrence",
    80: "DeltaFormer: a composition",
    81: "attention over depth: a stack's option",
    82: "Wall: a score with decays by channel",
    83: "Parallax: a row with two moments",
}
# What no paper's row stands for: controls, and relatives of a row that have their own paper.
BESIDE = {
    "uniform",
    "fnet",
    "aft",
    "mega",
    "mean",
    "max_pooling",
    "attentive_pooling",
    "decomposable",
    "coverage",
    "gmm",
    "kerple",
    "fire",
    "sinusoidal",
    "learned",
}

HERE = {name for kind in KINDS for name in kind.catalogue.names()}
NAMED = {name for row in ROWS.values() if isinstance(row, tuple) for name in row}


def test_every_row_is_told():
    assert list(ROWS) == list(range(1, 84))


@pytest.mark.parametrize("row", [number for number, row in ROWS.items() if isinstance(row, tuple)])
def test_the_names_of_a_row_are_there(row):
    assert set(ROWS[row]) <= HERE


def test_whatever_is_there_has_a_row():
    assert HERE - NAMED == BESIDE
