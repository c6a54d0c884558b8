"""A comparison from the command to the report, killed on the way."""

import json
import re
import time
from pathlib import Path

from tests.launch.command_line import RECALL, Answer, compiled_once, launch, read_jsonl, start, write_config
from tests.launch.test_refusals import LOOKS_BOTH_WAYS

KEYS = [
    "benchmark",
    "variant",
    "seed",
    "metric",
    "score",
    "steps",
    "parameters",
    "train_seconds",
    "ms_per_step",
    "peak_bytes",
    "status",
    "reason",
]
BRIEF = {**RECALL, "steps": 10, "evaluation": {"every": 5}, "log": {"every": 5}}
LOSES_COUNT = '''
import jax.numpy as jnp

from attention_jax.kernels.mechanism import SoftmaxScore, dot
from attention_jax.kernels.registry import Claims, Source, register

@register(source=Source("this test", "none"), claims=Claims())
def not_a_number() -> SoftmaxScore:
    """Scores that are not numbers."""
    return SoftmaxScore(pairwise=lambda query, key, params: dot(query, key, params) * jnp.nan)
'''


def trained(answer: Answer) -> list[str]:
    """Returns the trials that a comparison says it trained."""
    return re.findall(r"^\[\d+/\d+\] (.+): training$", answer.out + answer.err, re.MULTILINE)


def two_benchmarks(folder: Path) -> tuple[str, tuple[str, ...]]:
    """Writes a comparison of two variants and one that has to be refused, and returns its option and the variants."""
    (folder / "both_ways.py").write_text(LOOKS_BOTH_WAYS)
    variants = ("scaled_dot", "uniform", f"{folder / 'both_ways.py'}:both_ways")
    longer = {**BRIEF, "data": {**BRIEF["data"], "length": 12}}
    benchmarks = {"short": BRIEF, "longer": longer}
    return write_config(folder / "two.py", {"variants": variants, "seeds": (0, 1), "benchmarks": benchmarks}), variants


def kill_after(results: int, workdir: Path, *words: str, environment: dict[str, str]) -> dict[Path, int]:
    """Kills a comparison once it has that many results; returns when the losses of the finished runs were written."""
    process = start(*words, environment=environment)
    path = workdir / "results.jsonl"
    while process.poll() is None and (not path.exists() or len(read_jsonl(path)) < results):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    return {path: path.stat().st_mtime_ns for path in workdir.glob("runs/*/*/*/outcome.json")}


def test_a_comparison_that_was_killed_goes_on_and_reports(tmp_path: Path) -> None:
    config, variants = two_benchmarks(tmp_path)
    workdir = tmp_path / "W"
    words = ("compare", config, f"--workdir={workdir}")
    environment = compiled_once(tmp_path)
    written = kill_after(3, workdir, *words, environment=environment)
    before = read_jsonl(workdir / "results.jsonl")
    assert 3 <= len(before) < 12
    assert not (workdir / "report.html").exists()

    answer = launch(*words, environment=environment)
    assert answer.code == 0, answer.err
    results = read_jsonl(workdir / "results.jsonl")
    names = [f"{line['benchmark']} / {line['variant']} / seed {line['seed']}" for line in results]
    done = [name for name, line in zip(names, results, strict=True) if line["status"] == "done"]
    assert len(done) == 8
    assert trained(answer) == [name for name in done if name not in names[: len(before)]]
    assert results[: len(before)] == before
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert_results(results, variants, workdir)
    assert_reports(answer, variants, workdir)


def assert_results(results: list[dict], variants: tuple[str, ...], workdir: Path) -> None:
    """Checks the lines: their keys, their order, their statuses, and that they say what the runs said."""
    expected = [(name, variant, seed) for name in ("longer", "short") for variant in variants for seed in (0, 1)]
    assert [(line["benchmark"], line["variant"], line["seed"]) for line in results] == expected
    for line in results:
        assert list(line) == KEYS
        if line["variant"] == variants[-1]:
            assert line["status"] == "refused"
            assert "no causal form" in line["reason"]
            assert all(line[key] is None for key in KEYS[3:10])
        else:
            assert (line["status"], line["reason"]) == ("done", None)
            folder = workdir / "runs" / line["benchmark"] / line["variant"] / str(line["seed"])
            outcome = json.loads((folder / "outcome.json").read_text())
            assert {key: outcome[key] for key in KEYS[3:10]} == {key: line[key] for key in KEYS[3:10]}
            assert read_jsonl(folder / "metrics.jsonl")[-1][line["metric"]] == line["score"]


def assert_reports(answer: Answer, variants: tuple[str, ...], workdir: Path) -> None:
    """Checks the tables on the terminal and the reports, which must load nothing."""
    for line in ("longer: test_loss, lower is better", "short: test_loss, lower is better"):
        assert line in [printed.rstrip() for printed in answer.out.splitlines()]
    assert len(re.findall(r"^(scaled_dot|uniform) +\d\.\d+ ± \d", answer.out, re.MULTILINE)) == 4
    assert " ".join(answer.out.split()).count("has no causal form") == 2  # the table breaks its lines
    for name in ("results.jsonl", "report.json", "report.md", "report.html"):
        assert str(workdir / name) in answer.out.splitlines()
    report = json.loads((workdir / "report.json").read_text())
    assert report["plan"]["variants"] == list(variants)
    assert "| uniform |" in (workdir / "report.md").read_text()
    page = (workdir / "report.html").read_text()
    assert page.count("uniform") > 2
    markup = re.sub(r"(<script[^>]*>).*?</script>", r"\1", page, flags=re.DOTALL)
    assert "<script" in markup
    assert not re.search(r"\bsrc=|<link\b|@import|url\(", markup)


def test_one_experiment_is_compared_and_a_run_that_fails_is_a_result(tmp_path: Path) -> None:
    (tmp_path / "count.py").write_text(LOSES_COUNT)
    config = write_config(tmp_path / "recall.py", BRIEF)
    failing = f"{tmp_path / 'count.py'}:not_a_number"
    words = ("compare", config, f"--workdir={tmp_path / 'W'}", f"--variants=uniform,{failing}", "--seeds=3,1")
    answer = launch(*words, environment=compiled_once(tmp_path))
    assert answer.code == 1
    assert answer.err.splitlines()[-1].startswith("2 runs failed")
    assert "Traceback" not in answer.err
    results = read_jsonl(tmp_path / "W" / "results.jsonl")
    assert [(line["benchmark"], line["seed"], line["status"]) for line in results] == [
        ("recall", 3, "done"),
        ("recall", 1, "done"),
        ("recall", 3, "failed"),
        ("recall", 1, "failed"),
    ]
    assert "not finite from step 1 on" in results[-1]["reason"]
    assert (tmp_path / "W" / "report.html").exists()
