"""What test_parallel.py spreads over eight devices."""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.kernels import Causal, Composition, Padding, PrefixLM, Segments, lookup
from attention_jax.kernels.mechanism import SoftmaxScore

BATCH, TOKENS = 2, 32
_RNG = np.random.default_rng(0)
SEGMENTS = Segments(np.sort(_RNG.integers(0, 4, size=(BATCH, TOKENS))))
PADDING = Padding(np.array([30, 9]))
PACKED = np.stack([np.r_[0:20, 0:12], np.r_[5:37]])


@dataclass(frozen=True, eq=False)
class Case:
    """A problem, and how its tokens are spread.

    Attributes:
      method: of `attend_sharded`.
      order: of the tokens.
      spec: the variant.
      queries: T.
      keys: S.
      heads: query heads and key heads.
      dtype: of query, key and value.
      score_mod: whether one is given, that reads a table.
      mesh: how many devices the sequences and the tokens are spread over.
      poisoned: a token that holds NaN and the end of the rows that see it, or None.
      long: whether it is left to `make test-long`.
      by_rule: whether both are held against float64, and not one against the other.
      more: further arguments.
    """

    method: str
    order: str = "contiguous"
    spec: str = "scaled_dot"
    queries: int = TOKENS
    keys: int = TOKENS
    heads: tuple[int, int] = (4, 2)
    dtype: Any = jnp.float32
    score_mod: bool = False
    mesh: tuple[int, int] = (1, 8)
    poisoned: tuple[int, int] | None = None
    long: bool = False
    by_rule: bool = False
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def softmax(self) -> bool | None:
        """Whether keys travel, and not states; None for what has parts, and more between them."""
        mechanism = lookup(self.spec).mechanism
        return None if isinstance(mechanism, Composition) else isinstance(mechanism, SoftmaxScore)

    @property
    def both_ways(self) -> bool:
        """Whether a query sees the tokens after it."""
        mask = self.more.get("mask")
        return mask is None or not mask.causal


DROPOUT = {"rng": jax.random.key(1), "dropout_rate": 0.3}
CAUSAL = {"mask": Causal()}
EIGHT = (8, 8)
CASES = {
    "ring": Case("ring", heads=EIGHT, score_mod=True, by_rule=True, more=CAUSAL),
    "ring zigzag": Case("ring", "zigzag", more={"mask": Causal() & SEGMENTS & PADDING}),
    "ring dropout": Case("ring", "zigzag", more=DROPOUT | {"mask": PADDING}),
    "ring cross": Case("ring", queries=16, more={"mask": PADDING | Causal(), "positions": "ends"}),
    "ring additive": Case("ring", spec="additive:hidden=3", long=True, more=CAUSAL),
    "ring bfloat16": Case("ring", "zigzag", dtype=jnp.bfloat16, by_rule=True, more=CAUSAL),
    "ring nan": Case("ring", "zigzag", poisoned=(20, TOKENS), more=CAUSAL),
    "ring of batches": Case("ring", mesh=(2, 4), more={"mask": Causal() & PADDING, "positions": PACKED} | DROPOUT),
    "all_gather": Case("all_gather", more={"mask": PrefixLM(np.array([3, 11])) & SEGMENTS}),
    "all_gather zigzag": Case("all_gather", "zigzag", score_mod=True, more=CAUSAL | {"positions": PACKED} | DROPOUT),
    "all_to_all": Case("all_to_all", heads=EIGHT, score_mod=True, more={"mask": Causal() & SEGMENTS} | DROPOUT),
    "all_to_all additive": Case(
        "all_to_all", spec="additive:hidden=3", heads=(16, 8), long=True, more={"mask": PADDING}
    ),
    "all_to_all linear": Case("all_to_all", spec="linear", heads=EIGHT, more={"mask": Causal() & SEGMENTS & PADDING}),
    "ring rope": Case("ring", "zigzag", more={"mask": Causal() & SEGMENTS, "position_encoding": "rope"}),
    "all_gather xpos": Case("all_gather", long=True, more=CAUSAL | {"position_encoding": "xpos", "positions": PACKED}),
    "ring zigzag forgetting": Case("ring", "zigzag", spec="forgetting", more={"mask": Causal() & SEGMENTS & PADDING}),
    "ring zigzag routing": Case(
        "ring", "zigzag", spec="routing:clusters=2,window=8", more={"mask": Causal() & PADDING}
    ),
    "all_to_all fire": Case("all_to_all", heads=EIGHT, long=True, more={"position_encoding": "fire:threshold=4.0"}),
    "all_to_all forgetting": Case(
        "all_to_all", spec="forgetting", heads=EIGHT, long=True, more={"mask": Causal() & SEGMENTS & PADDING}
    ),
    "all_to_all of batches": Case("all_to_all", mesh=(2, 4), heads=(4, 4), more={"mask": PADDING} | DROPOUT),
}

# Recurrences have a number of tokens whose prime factor 11 nothing else has: what grows with it shows in its shape.
LONG = 11 * 16
_REAL = np.ones((BATCH, LONG), bool)
_REAL[0, 44:67] = _REAL[1, :23] = _REAL[1, 150] = False
HOLES = Padding(_REAL)
# Ids in no order; a border at that of two devices, which hold 22 tokens each, a segment of one token, one over devices.
PACK = Segments(
    np.stack([np.repeat([7, 3, 9, 1, 0, 2, 5], [5, 61, 4, 1, 69, 35, 1]), np.repeat([4, 2, 8, 1], [22, 44, 24, 86])])
)


def _recurrent(method: str, order: str, spec: str, mask: Any, **options: Any) -> Case:
    return Case(method, order, spec, LONG, LONG, more={"mask": mask}, **options)


def _left_out(method: str, order: str, spec: str, mask: Any, **options: Any) -> Case:
    return _recurrent(method, order, spec, mask, long=True, **options)


# By default one of each kind of state (with a scale, a decay by head, by channel, a matrix), each device count and
# order; the rest, and each by the other method, in `make test-long`.
_OF_STATES = {
    "linear": _recurrent("all_gather", "zigzag", "linear", Causal() & PACK & HOLES),
    "retention": _recurrent("all_gather", "contiguous", "retention", Causal() & PACK, mesh=(2, 4), poisoned=(30, 66)),
    "gated_linear": _recurrent("ring", "zigzag", "gated_linear", Causal() & PACK),
    "gated_delta_net": _recurrent("ring", "contiguous", "gated_delta_net", Causal()),
    "both ways": _recurrent("ring", "zigzag", "linear", HOLES, by_rule=True),
    "performer": _left_out("ring", "contiguous", "performer:features=16", Causal() & PACK, by_rule=True),
    "mamba2": _left_out("all_gather", "contiguous", "mamba2", Causal() & HOLES),
    "delta_net": _left_out("all_gather", "contiguous", "delta_net", Causal() & PACK & HOLES),
    "kimi_delta": _left_out("all_gather", "zigzag", "kimi_delta", Causal() & PACK, by_rule=True),
    "rwkv7": _left_out("ring", "zigzag", "rwkv7", Causal() & PACK, by_rule=True),
}
CASES |= {f"states, {name}": case for name, case in _OF_STATES.items()}
_OTHER = {"ring": "all_gather", "all_gather": "ring"}
CASES |= {
    f"states, {name}, {_OTHER[case.method]}": replace(case, method=_OTHER[case.method], long=True)
    for name, case in _OF_STATES.items()
}
