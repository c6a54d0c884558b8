"""What a file may declare of its result."""

import math
import re

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.reproduction.declaration import Expected, Reproduction


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"core_minutes": 0}, "core_minutes=0 of 'gpt'"),
        ({"core_minutes": math.nan}, "core_minutes=nan of 'gpt'"),
        ({"seeds": ()}, "seeds=() of 'gpt'"),
        ({"seeds": (0, 0)}, "seeds=(0, 0) of 'gpt'"),
        ({"expected": Expected(math.inf, 0.1)}, "of 'gpt': give a finite value"),
        ({"expected": {"recall / a": Expected(0.5, 0.0)}}, "of 'recall / a': give a finite value and a tolerance"),
    ],
)
def test_a_number_out_of_range_is_refused_in_a_line(changed, said):
    with pytest.raises(Refused, match=re.escape(said)) as refusal:
        Reproduction(**{"system": "gpt", "data": "none", "core_minutes": 1, **changed})
    assert "\n" not in str(refusal.value)


def test_expectations_are_by_label():
    one = Expected(0.5, 0.1)
    of = [Reproduction(system="s", data="d", core_minutes=1, expected=e).expectations for e in (None, one, {"a": one})]
    assert of == [{}, {"": one}, {"a": one}]
