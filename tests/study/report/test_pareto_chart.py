"""The chart of scores over costs: which costs can be chosen, in which unit, and who is on the front of each."""

import math

import pytest
import vl_convert

from attention_jax.study.comparison.plan import Plan
from attention_jax.study.report.charts import Look
from attention_jax.study.report.overview import VEGA_LITE
from attention_jax.study.report.pareto_chart import pareto_chart
from attention_jax.study.report.summary import summaries

PLAN = Plan(benchmarks=("listops",), variants=("scaled_dot", "linear", "uniform"), seeds=(0,))
COSTS = {
    "scaled_dot": {"ms_per_step": 10.0, "decode_bytes": 2**20, "tokens_per_second": 500.0},
    "linear": {"ms_per_step": 12.0, "decode_bytes": 2**10, "tokens_per_second": 900.0},
    "uniform": {"ms_per_step": 5.0, "decode_bytes": None, "tokens_per_second": 100.0},
}
SCORES = {"scaled_dot": 0.9, "linear": 0.8, "uniform": 0.3}


@pytest.fixture
def spec(result):
    results = [result(name, 0, SCORES[name], **costs) for name, costs in COSTS.items()]
    return pareto_chart(summaries(PLAN, results)[0], Look(PLAN.variants)).to_dict()


def points(spec):
    return {point["variant"]: point for point in spec["data"]["values"]}


def test_each_cost_that_is_known_can_be_chosen_with_its_unit(spec):
    [chosen] = [param for param in spec["params"] if param["name"] == "cost"]
    assert chosen["value"] == "ms_per_step"
    labels = dict(zip(chosen["bind"]["options"], chosen["bind"]["labels"], strict=True))
    assert labels["ms_per_step"] == "ms per step, not known"
    assert labels["decode_bytes"] == "decode state of a sequence, KiB, log scale"
    assert labels["peak_bytes"] == "peak memory, MiB"
    assert set(labels) >= {"flops_per_step", "compile_seconds", "parameters", "tokens_per_second"}


def test_far_apart_costs_stand_as_logarithms_and_unknown_ones_nowhere(spec):
    there = points(spec)
    assert there["scaled_dot"]["cost"]["decode_bytes"] == pytest.approx(math.log10(1024), abs=1e-5)
    assert there["linear"]["cost"]["decode_bytes"] == 0.0
    assert there["uniform"]["cost"]["decode_bytes"] is None
    assert there["uniform"]["cost"]["ms_per_step"] == 5.0


def test_the_front_is_of_each_cost(spec):
    fronts = {variant: set(point["front"]) for variant, point in points(spec).items()}
    on = {cost: {v for v, front in fronts.items() if cost in front} for cost in COSTS["linear"]}
    assert on == {
        "ms_per_step": {"scaled_dot", "uniform"},
        "decode_bytes": {"scaled_dot", "linear"},
        "tokens_per_second": {"scaled_dot", "linear"},
    }


@pytest.mark.parametrize("cost", ["ms_per_step", "decode_bytes", "tokens_per_second"])
def test_it_is_drawn_over_each_cost(spec, cost):
    params = [{**param, "value": cost} if param["name"] == "cost" else param for param in spec["params"]]
    params.append({"name": "highlight", "value": ""})
    svg = vl_convert.vegalite_to_svg({**spec, "width": 300, "params": params}, vl_version=VEGA_LITE)
    known = [name for name in COSTS if COSTS[name][cost]]
    assert all(f"variant: {name}" in svg for name in known)
    assert sum(f"variant: {name}" in svg for name in COSTS) == len(known)


def test_without_any_cost_there_is_no_chart(result):
    none = dict.fromkeys(("ms_per_step", "peak_bytes", "flops_per_step", "compile_seconds", "parameters"), 0)
    assert pareto_chart(summaries(PLAN, [result("linear", 0, 0.5, **none)])[0], Look(PLAN.variants)) is None
