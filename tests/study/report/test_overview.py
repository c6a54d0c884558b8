"""The static picture for the README."""

import xml.etree.ElementTree as ElementTree

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.comparison.curves import learning_curves
from attention_jax.study.comparison.plan import Plan
from attention_jax.study.report.charts import COLOURS
from attention_jax.study.report.overview import save_svg
from attention_jax.study.report.summary import done, summaries

SVG = "{http://www.w3.org/2000/svg}"


def save(plan, results, workdir, path):
    curves = {name: learning_curves(done(results, benchmark=name), workdir) for name in plan.benchmarks}
    save_svg(plan, summaries(plan, results), results, curves, path)


@pytest.fixture
def picture(plan, mixed, tmp_path):
    results, workdir = mixed
    save(plan, results, workdir, tmp_path / "docs" / "overview.svg")
    return ElementTree.parse(tmp_path / "docs" / "overview.svg").getroot()


def words(picture):
    return ["".join(text.itertext()) for text in picture.iter(f"{SVG}text")]


def test_it_is_an_svg_that_stands_alone(picture):
    assert picture.tag == f"{SVG}svg"
    assert float(picture.get("width")) > 700
    hrefs = [value for element in picture.iter() for name, value in element.attrib.items() if name.endswith("href")]
    assert hrefs == []
    assert not list(picture.iter(f"{SVG}script"))


def test_it_names_the_benchmarks_and_the_variants_best_first(picture):
    shown = words(picture)
    assert {"listops", "copy", "test_accuracy", "validation_accuracy", "learning curves"} <= set(shown)
    assert shown.index("scaled_dot") < shown.index("linear")
    assert shown.count("scaled_dot") == 2
    assert shown.count("linear") == 1  # refused on copy


def test_it_uses_the_colours_of_the_page(picture):
    used = {value for element in picture.iter() for value in (element.get("stroke"), element.get("fill")) if value}
    assert set(COLOURS[:3]) <= used
    assert not set(COLOURS[3:]) & used


def test_results_without_logs_are_drawn_without_curves(tmp_path, result):
    plan = Plan(benchmarks=("listops",), variants=("scaled_dot",), seeds=(0,))
    save(plan, [result("scaled_dot", 0, 0.5)], tmp_path, tmp_path / "one.svg")
    shown = words(ElementTree.parse(tmp_path / "one.svg").getroot())
    assert "listops" in shown
    assert "learning curves" not in shown


@pytest.mark.parametrize("reason", ["nothing", "refused"])
def test_nothing_to_draw_is_refused(tmp_path, plan, mixed, reason):
    results = [] if reason == "nothing" else [entry for entry in mixed[0] if entry.status == "refused"]
    with pytest.raises(Refused):
        save(plan, results, tmp_path, tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()
