r"""Slots of utterances to a restaurant, the slot's name being one vector: beside every token, or as an external query.

Command: TEXTS_DATA_DIR=DIR python launch.py train --config=experiments/restaurant8k_external_query.py \
             --workdir=runs/external_query (with ":concatenated" behind the file for the other)
DIR has what experiments/restaurant8k_bidaf.py needs, whose BiLSTM and steps these are. Not run whole yet.
"""

from pathlib import Path

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.study.reproduction.declaration import Figure, Reproduction
from attention_jax.training import config

BIDAF = Path(__file__).parent / "restaurant8k_bidaf.py"


def _slots(system: str, argument: str) -> Reproduction:
    return Reproduction(
        system=system,
        argument=argument,
        data="RESTAURANTS-8K, test",
        core_minutes=10,
        metric="test_span_f1",
        floor=Figure(0, "no span"),
    )


RESULTS = (
    _slots("General attention with an external query points at spans", ""),
    _slots("The query beside every token of a BiLSTM", "concatenated"),
)


def get_config(query: str = "by_query") -> ConfigDict:
    """Returns a BiLSTM of width 64 whose tokens are asked by the slot's vector.

    Args:
      query: by_query, the pooling that points, or concatenated.
    """
    if query not in ("by_query", "concatenated"):
        raise Refused(f"restaurant8k_external_query.py asks by_query or concatenated, not {query!r}.")
    whole = config.read(str(BIDAF))
    whole.model = {
        "name": "external_query",
        "query": query,
        "width": 64,
        "filters": 48,
        "hidden": 64,
        "encoder": {"cell": "lstm", "width": 64, "bidirectional": True},
    }
    return whole
