"""The three reports and what is printed."""

import json
import re
from html.parser import HTMLParser

import pytest
import vl_convert

from attention_jax.study.comparison.plan import Plan, run_folder
from attention_jax.study.report.environment import environment
from attention_jax.study.report.overview import VEGA_LITE
from attention_jax.study.report.report import summarise

COMMAND = "python launch.py compare --config=experiments/demo.py --workdir='my runs' && echo <done>"


@pytest.fixture(scope="module")
def reports(plan, mixed):
    """The folder with the reports of results of every kind."""
    results, workdir = mixed
    summarise(plan, results, workdir, command=COMMAND)
    return workdir


def refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


class Page(HTMLParser):
    """What a browser would load or run, and the words that it would show."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles = ""
        self.words = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "style":
            self.styles += data
        else:
            self.words += data


@pytest.fixture(scope="module")
def page(reports):
    return Page((reports / "report.html").read_text(encoding="utf-8"))


def test_the_page_loads_nothing(page):
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base"), tag
        for name in ("src", "data", "srcset", "action", "poster"):
            assert name not in attributes, (tag, attributes)
        # A link loads nothing before it is followed: it leads to a place on the page, or to a log in the folder.
        assert "href" not in attributes or (tag == "a" and re.match(r"#|runs/", attributes["href"])), attributes
    assert "--page" in page.styles
    assert not re.search(r"url\(|@import|http", page.styles)


def test_the_page_forbids_itself_the_network(page):
    [policy] = [attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes and tag == "meta"]
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert "*" not in policy
    assert "connect-src" not in policy


def test_the_page_carries_vega_and_one_element_for_each_chart(page):
    data, bundle, _ = page.scripts
    charts = json.loads(data, parse_constant=refuse_constant)["charts"]
    assert "window.vegaEmbed=" in bundle
    assert len(charts) == 6  # two benchmarks, three charts each
    assert {attributes["id"] for _, attributes in page.tags if attributes.get("class") == "chart"} == set(charts)
    assert not any("http" in json.dumps(spec) for spec in charts.values())


def test_every_chart_of_the_page_is_valid_vega_lite(page):
    for name, spec in json.loads(page.scripts[0])["charts"].items():
        svg = vl_convert.vegalite_to_svg(spec | {"width": 400, "autosize": "pad"}, vl_version=VEGA_LITE)
        assert "scaled_dot" in svg or "test_accuracy" in svg or "validation_accuracy" in svg, name


def test_colours_are_those_of_the_plan_in_every_chart(page, plan):
    data = json.loads(page.scripts[0])
    legend = {variant: mark["colour"] for variant, mark in data["marks"].items()}
    assert list(legend) == list(plan.variants)
    scales = [
        layer["encoding"]["color"]["scale"]
        for spec in data["charts"].values()
        for layer in spec["layer"]
        if "color" in layer["encoding"]
    ]
    assert len(scales) >= 14
    assert all(dict(zip(scale["domain"], scale["range"], strict=True)) == legend for scale in scales)


def test_the_page_says_what_it_is_and_how_to_make_it_again(page):
    assert ("html", {"lang": "en"}) in page.tags
    for words in (
        "3 variants on listops, copy",
        "14 of 18 runs are done (3 seeds each)",
        "Against scaled_dot: too few seeds: performer:features=64; worse: linear.",
        "linear <cannot> copy | use [scaled_dot]",
        "the loss is nan at step 40",
        COMMAND,
        "0.8000 ± 0.0248",
        environment().cpu,
        environment().jax,
    ):
        assert words in page.words, words


def test_steps_to_solve_are_read_from_the_curves(tmp_path, result, log):
    plan = Plan(benchmarks=("mqar",), variants=("scaled_dot", "linear"), seeds=(0, 1, 2))
    scores = {"scaled_dot": (1.0, 0.3, 1.0), "linear": (0.3, 0.31, 0.3)}
    results = []
    for trial in plan.trials():
        score = scores[trial.variant][trial.seed]
        results.append(result(trial.variant, trial.seed, score, benchmark="mqar"))
        log(run_folder(tmp_path, trial), final=score)
    summarise(plan, results, tmp_path, command="c")
    text = (tmp_path / "report.md").read_text()
    # The curves rise in a line to their end at step 100, evaluated every 20: 0.655 is passed at 80.
    assert "Steps to solve, the median of the seeds whose learning curve gets there: scaled_dot 80." in text
    assert "2 of 3 [0.09, 0.99]" in text


def test_hostile_names_stay_text(tmp_path, result):
    hostile = "x</script><script>alert(1)</script><b>&amp;"
    plan = Plan(benchmarks=(hostile,), variants=("scaled_dot", hostile), seeds=(0, 1))
    results = [result(variant, seed, 0.5, benchmark=hostile) for variant in plan.variants for seed in plan.seeds]
    summarise(plan, results, tmp_path, command=hostile)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(page.scripts) == 3
    assert not any(tag == "b" for tag, _ in page.tags)
    assert hostile in json.loads(page.scripts[0])["marks"]
    assert hostile in page.words


def test_report_json_is_strict_and_complete(reports, plan):
    report = json.loads((reports / "report.json").read_text(), parse_constant=refuse_constant)
    assert report["command"] == COMMAND
    assert set(report["environment"]) == {"hardware", "cpu", "system", "python", "jax", "flax"}
    assert report["plan"] == {"benchmarks": ["listops", "copy"], "variants": list(plan.variants), "seeds": [0, 1, 2]}
    assert (report["reference"], report["confidence"]) == ("scaled_dot", 0.95)
    listops, copy = report["benchmarks"]
    assert (listops["benchmark"], listops["metric"], listops["higher_is_better"]) == ("listops", "test_accuracy", True)
    first, second, third = listops["rows"]
    assert first["score"] == {
        "mean": pytest.approx(0.8),
        "low": pytest.approx(0.8 - 0.02484, abs=1e-5),
        "high": pytest.approx(0.8 + 0.02484, abs=1e-5),
        "runs": [pytest.approx(0.79), pytest.approx(0.80), pytest.approx(0.81)],
        "without": None,
    }
    assert (first["variant"], first["comparison"], first["notes"]) == ("scaled_dot", None, [])
    assert second["notes"] == ["failed (seed 1): the loss is nan at step 40"]
    assert third["comparison"]["verdict"] == "worse"
    assert third["comparison"]["difference"] == pytest.approx(-0.1)
    assert copy["rows"][-1]["score"] is None


def test_one_seed_gives_null_for_the_interval(tmp_path, result):
    plan = Plan(benchmarks=("a",), variants=("x", "y"), seeds=(0,))
    results = [result(variant, 0, 0.5, benchmark="a") for variant in plan.variants]
    summarise(plan, results, tmp_path, command="c")
    report = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse_constant)
    [x, y] = report["benchmarks"][0]["rows"]
    assert (x["score"]["low"], x["score"]["without"]) == (None, "one seed")
    ends = {"low": None, "high": None}
    assert y["comparison"] == {"difference": 0.0, "seeds": 1, "p": None, "verdict": "too few seeds", **ends}


def test_report_markdown_has_a_table_for_each_benchmark_and_how_to_reproduce(reports):
    text = (reports / "report.md").read_text()
    assert re.findall("^#+ .*$", text, re.MULTILINE) == [
        "# 3 variants on listops, copy",
        "## listops",
        "## copy",
        "## Over the benchmarks",
        "## How to read the tables",
        "## Reproduce",
    ]
    assert f"```\n{COMMAND}\n```" in text
    assert "- seeds: 0, 1, 2" in text
    for name in ("hardware", "cpu", "python", "jax", "flax"):
        assert f"- {name}: " in text


def test_the_tables_are_printed_and_the_page_is_the_last_line(plan, mixed, capsys):
    results, workdir = mixed
    summarise(plan, results, workdir, command=COMMAND)
    lines = capsys.readouterr().out.splitlines()
    written = [f"report.{kind}" for kind in ("json", "md", "csv", "tex", "svg", "html")]
    written.insert(0, "results.jsonl")
    assert lines[-7:] == [str(workdir / name) for name in written]
    assert all((workdir / name).stat().st_size for name in written[1:])
    assert max(len(line) for line in lines[:-7]) <= 100
    assert [line.rstrip() for line in lines if ": test_accuracy" in line] == [
        "listops: test_accuracy, higher is better",
        "copy: test_accuracy, higher is better",
    ]


def test_a_comparison_without_a_finished_run_is_reported_too(tmp_path, plan, capsys):
    summarise(plan, [], tmp_path, command=COMMAND)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert json.loads(page.scripts[0])["charts"] == {}
    assert "0 of 18 runs are done" in page.words
    assert "no run is done" in capsys.readouterr().out


def test_writing_again_gives_the_same_files(reports, plan, mixed):
    names = ("report.json", "report.md", "report.csv", "report.tex", "report.html")
    before = [(reports / name).read_bytes() for name in names]
    summarise(plan, mixed[0], mixed[1], command=COMMAND)
    assert [(reports / name).read_bytes() for name in names] == before
    assert not list(reports.glob("*.tmp"))


def test_the_environment_is_this_machine():
    here = environment()
    assert re.fullmatch(r"\d+ x .+ \(\w+\)", here.hardware)
    assert re.fullmatch(r".+, \d+ cores", here.cpu)
    assert re.fullmatch(r"3\.\d+\.\d+", here.python)
    assert re.fullmatch(r"\d+\.\d+\.\d+", here.flax)
