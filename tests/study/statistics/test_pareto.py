"""The Pareto front, by hand and against its definition."""

from hypothesis import given
from hypothesis import strategies as st

from attention_jax.study.statistics.pareto import pareto_front

POINTS = {"cheap": (1.0, 0.3), "middle": (2.0, 0.6), "worse": (3.0, 0.5), "best": (4.0, 0.9), "dear": (9.0, 0.9)}


def test_the_front_of_a_cost_and_a_rising_score():
    assert pareto_front(POINTS, rising=True, cheaper=True) == ["cheap", "middle", "best"]


def test_a_falling_score_and_a_rate():
    assert pareto_front(POINTS, rising=False, cheaper=True) == ["cheap"]
    assert pareto_front(POINTS, rising=True, cheaper=False) == ["dear"]
    assert pareto_front(POINTS, rising=False, cheaper=False) == ["cheap", "worse", "dear"]


def test_equals_stay_together_and_nothing_has_no_front():
    assert pareto_front({"a": (1.0, 0.5), "b": (1.0, 0.5)}, rising=True, cheaper=True) == ["a", "b"]
    assert pareto_front({}, rising=True, cheaper=True) == []


numbers = st.integers(0, 5).map(float)


@given(
    points=st.dictionaries(st.text(max_size=3), st.tuples(numbers, numbers), max_size=12),
    rising=st.booleans(),
    cheaper=st.booleans(),
)
def test_every_point_is_on_the_front_or_dominated_by_one_that_is(points, rising, cheaper):
    def dominates(first, second):
        gains = ((second[0] - first[0]) * (1 if cheaper else -1), (first[1] - second[1]) * (1 if rising else -1))
        return min(gains) >= 0 and max(gains) > 0

    front = pareto_front(points, rising=rising, cheaper=cheaper)
    assert [points[name][0] for name in front] == sorted(points[name][0] for name in front)
    for name, point in points.items():
        assert (name in front) == (not any(dominates(other, point) for other in points.values()))
        assert name in front or any(dominates(points[other], point) for other in front)
