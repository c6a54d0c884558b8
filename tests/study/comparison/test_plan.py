"""Plans and the folders of their runs."""

from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from attention_jax.base.errors import Refused
from attention_jax.study.comparison.plan import Plan, Trial, folder_name, run_folder


def test_trials_are_ordered_by_benchmark_then_variant_then_seed():
    plan = Plan(benchmarks=("b", "a"), variants=("y", "x"), seeds=(1, 0))
    assert [(trial.benchmark, trial.variant, trial.seed) for trial in plan.trials()] == [
        ("b", "y", 1),
        ("b", "y", 0),
        ("b", "x", 1),
        ("b", "x", 0),
        ("a", "y", 1),
        ("a", "y", 0),
        ("a", "x", 1),
        ("a", "x", 0),
    ]


def test_the_first_variant_is_the_reference():
    assert Plan(benchmarks=("a",), variants=("y", "x"), seeds=(0,)).reference == "y"


@pytest.mark.parametrize("name", ["benchmarks", "variants", "seeds"])
def test_an_empty_list_is_refused(name):
    lists = {"benchmarks": ("a",), "variants": ("x",), "seeds": (0,)} | {name: ()}
    with pytest.raises(Refused, match=f"no {name}"):
        Plan(**lists)


@pytest.mark.parametrize(
    ("name", "twice"), [("benchmarks", ("a", "b", "a")), ("variants", ("x", "x")), ("seeds", (3, 3))]
)
def test_a_repeated_entry_is_refused_with_its_value(name, twice):
    lists = {"benchmarks": ("a",), "variants": ("x",), "seeds": (0,)} | {name: twice}
    with pytest.raises(Refused, match=f"{twice[0]!r} twice in its {name}"):
        Plan(**lists)


def test_a_name_too_long_for_a_folder_is_refused_before_anything_runs():
    with pytest.raises(Refused, match="260 characters"):
        Plan(benchmarks=("a",), variants=("x" * 260,), seeds=(0,))


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("scaled_dot", "scaled_dot"),
        ("performer:features=64,seed=1", "performer%3Afeatures=64,seed=1"),
        ("my/file.py:mine", "my%2Ffile.py%3Amine"),
        ("sparse:mask=Causal() & Window(8)", "sparse%3Amask=Causal%28%29%20%26%20Window%288%29"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
    ],
)
def test_folder_names(spec, name):
    assert folder_name(spec) == name


@given(st.text(min_size=1, max_size=20))
@example("%3A")
@example(":")
@example(".")
@example("..")
@example("a/b")
@example("a\\b")
@example("\x00")
def test_a_folder_name_is_one_safe_component_that_gives_the_spec_back(spec):
    name = folder_name(spec)
    assert unquote(name) == spec  # hence no two specs share a name
    assert name not in (".", "..")
    assert not name.startswith(".")
    assert not set(name) & set("/\\:\x00 *?\"'<>|&;$")


def test_an_empty_spec_is_refused():
    with pytest.raises(Refused, match="'' cannot name a folder"):
        folder_name("")


def test_the_folder_of_a_run_stays_under_runs():
    assert run_folder(Path("w"), Trial("listops", "performer:features=64", 3)) == Path(
        "w/runs/listops/performer%3Afeatures=64/3"
    )
    assert run_folder(Path("w"), Trial("..", "../..", 0)).parts[:2] == ("w", "runs")
    assert ".." not in run_folder(Path("w"), Trial("..", "../..", 0)).parts
