"""A comparison from the command to the report, killed on the way."""

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.launch.command_line import RECALL, Answer, launch, read_jsonl, start, write_config
from tests.launch.test_refusals import LOOKS_BOTH_WAYS
from tests.study.comparison.test_results import KEYS

BRIEF = {**RECALL, "steps": 10, "evaluation": {"every": 5}, "log": {"every": 5}}
LOSES_COUNT = '''
import jax.numpy as jnp

from attention_jax.kernels.mechanism import SoftmaxScore, dot
from attention_jax.kernels.registry import Claims, Source, register

@register(source=Source("this test", "none"), claims=Claims())
def not_a_number() -> SoftmaxScore:
    """Scores that are not numbers."""
    return SoftmaxScore(pairwise=lambda query, key, given: dot(query, key, given) * jnp.nan)
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


def by_trial(lines: list[dict]) -> dict[tuple[str, str, int], dict]:
    """Returns lines of results by what they are of."""
    return {(line["benchmark"], line["variant"], line["seed"]): line for line in lines}


def workers_of(pid: int) -> list[int]:
    """Returns the process ids of the workers that a process has started."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in found.split()]


def alive(pid: int) -> bool:
    """Returns whether a process runs: one that has ended and was not waited for does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def once_there_are(results: int, workdir: Path, process: subprocess.Popen[str]) -> None:
    """Waits until a comparison has that many lines."""
    path = workdir / "results.jsonl"
    while process.poll() is None and (not path.exists() or path.read_text().count("\n") < results):
        time.sleep(0.01)


def test_a_comparison_that_was_killed_goes_on_and_reports(tmp_path: Path) -> None:
    config, variants = two_benchmarks(tmp_path)
    workdir = tmp_path / "W"
    words = ("compare", config, f"--workdir={workdir}", "--workers=2")
    process = start(*words)
    once_there_are(6, workdir, process)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    before = by_trial(read_jsonl(workdir / "results.jsonl"))
    # A run that had ended and of which no line was written yet ends once more: only those with a line stay untouched.
    outcomes = [workdir / "runs" / name / variant / str(seed) / "outcome.json" for name, variant, seed in before]
    written = {path: path.stat().st_mtime_ns for path in outcomes if path.exists()}
    assert written
    assert 6 <= len(before) < 12
    assert not (workdir / "report.html").exists()

    until = time.monotonic() + 5
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers))

    answer = launch(*words)
    assert answer.code == 0, answer.err
    results = read_jsonl(workdir / "results.jsonl")
    there = by_trial(results)
    assert {key: there[key] for key in before} == before
    done = [f"{name} / {variant} / seed {seed}" for (name, variant, seed), line in there.items() if line["score"]]
    assert len(done) == 8
    kept = {f"{name} / {variant} / seed {seed}" for name, variant, seed in before}
    assert sorted(trained(answer)) == sorted(set(done) - kept)
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
            assert line["versions"].keys() >= {"python", "jax", "flax"}
            assert (workdir / line["log"]).exists()


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
    answer = launch(*words)
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


@pytest.fixture(scope="module")
def in_one_process(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A comparison by `--workers=0`: the option of its config, and its folder."""
    folder = tmp_path_factory.mktemp("zero")
    # Dropout: what is drawn must not depend on who draws it either.
    sections = {**BRIEF, "steps": 30, "model": {**BRIEF["model"], "dropout_rate": 0.1}}
    config = write_config(folder / "recall.py", sections)
    answer = launch("compare", config, *SEVERAL, f"--workdir={folder / 'W'}", "--workers=0")
    assert answer.code == 0, answer.err
    return config, folder / "W"


SEVERAL = ("--variants=scaled_dot", "--seeds=0,1")


def losses(workdir: Path) -> dict[str, bytes]:
    """Returns the losses of every run, by its folder."""
    return {
        str(path.relative_to(workdir).parent): path.read_bytes() for path in workdir.glob("runs/*/*/*/metrics.jsonl")
    }


def test_results_do_not_depend_on_the_number_of_workers_nor_on_kills(in_one_process, tmp_path: Path) -> None:
    config, workdir = in_one_process
    expected = losses(workdir)
    assert len(expected) == 2
    # One worker, from an empty cache: compiled again, and not what the others have loaded.
    own = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}
    answer = launch("compare", config, *SEVERAL, f"--workdir={tmp_path / 'one'}", "--workers=1", environment=own)
    assert answer.code == 0, answer.err
    assert losses(tmp_path / "one") == expected

    two = tmp_path / "two"
    process = start("compare", config, *SEVERAL, f"--workdir={two}", "--workers=2")
    while process.poll() is None and not list(two.glob("runs/*/*/*/checkpoints/[0-9]*")):
        time.sleep(0.01)
    for worker in workers_of(process.pid):
        os.kill(worker, signal.SIGKILL)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "its worker ended by signal SIGKILL" in err
    assert losses(two) == expected


def test_a_signal_saves_and_the_same_command_goes_on(in_one_process, tmp_path: Path) -> None:
    config, workdir = in_one_process
    words = ("compare", config, *SEVERAL, f"--workdir={tmp_path / 'W'}", "--workers=1")
    process = start(*words)
    while process.poll() is None and not list((tmp_path / "W").glob("runs/*/*/*/metrics.jsonl")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 143, err
    assert err.splitlines()[-1].startswith("stopped and saved. To go on: python launch.py compare")
    answer = launch(*words)
    assert answer.code == 0, answer.err
    assert losses(tmp_path / "W") == losses(workdir)


def test_more_seeds_train_only_those_and_load_what_was_compiled(in_one_process, tmp_path: Path) -> None:
    config, workdir = in_one_process
    more = (SEVERAL[0], "--seeds=0,1,2", f"--workdir={workdir}", "--workers=1")
    answer = launch("compare", config, *more)
    assert answer.code == 0, answer.err
    assert trained(answer) == ["recall / scaled_dot / seed 2"]
    assert "keeping the results of 2 of 3 runs" in answer.err
    (new,) = (line for line in read_jsonl(workdir / "results.jsonl") if line["seed"] == 2)
    assert new["compilations"] == 0
    assert new["cache_hits"] > 0


@pytest.mark.long
def test_learning_rates_are_one_program_in_a_study_and_none_on_a_warm_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    words = ("compare", write_config(tmp_path / "one.py", BRIEF), "--vary=optimizer.learning_rate", "--workers=1")
    compiled = []
    for rates in ("1e-2,1e-3,1e-4", "1e-2,1e-3,1e-4,0"):
        answer = launch(*words, f"--variants={rates}", f"--workdir={tmp_path / 'W'}", "--seeds=0,1,2")
        assert answer.code == 0, answer.err
        lines = read_jsonl(tmp_path / "W" / "results.jsonl")
        compiled.append([line["compilations"] for line in lines if line["variant"].endswith("=0") == (len(lines) > 9)])
    assert len(compiled[0]) == 9
    assert sum(count > 0 for count in compiled[0]) == 1
    assert compiled[1] == [0, 0, 0]


def test_the_command_of_a_run_trains_it_alone_to_the_same_bits(in_one_process) -> None:
    _, workdir = in_one_process
    with (workdir / "report.csv").open() as file:
        [row] = [row for row in csv.DictReader(file) if row["seed"] == "1"]
    assert row["beside"] == "0"
    answer = launch(*shlex.split(row["command"])[2:])
    assert answer.code == 0, answer.err
    alone = workdir / "alone" / "runs" / "recall" / "scaled_dot" / "1"
    [line] = read_jsonl(alone / "results.jsonl")
    assert str(line["score"]) == row["score"]
    assert losses(alone) == {name: text for name, text in losses(workdir).items() if name.endswith("scaled_dot/1")}


def test_a_benchmark_that_is_not_there_is_refused(tmp_path: Path) -> None:
    answer = launch("compare", "--config=experiments/demo.py", "--benchmarks=recal", f"--workdir={tmp_path / 'W'}")
    assert answer.code == 2
    assert answer.err.strip() == "error: --benchmarks=recal: there is no benchmark 'recal'. Did you mean 'recall'?"
    assert not (tmp_path / "W").exists()
