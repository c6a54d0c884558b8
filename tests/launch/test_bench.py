"""`launch.py bench`: the table, the record, and input that cannot be used."""

from pathlib import Path

import pytest

from attention_jax.bench.decodes import DECODE_MEASURES
from attention_jax.bench.measures import MEASURES, Measure
from attention_jax.bench.steps import STEP_MEASURES
from tests.launch.command_line import launch, read_jsonl
from tests.launch.test_refusals import answers, assert_refused

TINY = ("--tokens=16", "--heads=2", "--width=4", "--repeats=2")


@pytest.mark.parametrize(
    ("what", "measures"), [("attention", MEASURES), ("step", STEP_MEASURES), ("decode", DECODE_MEASURES)]
)
def test_the_measures_are_listed(what: str, measures: tuple[Measure, ...]) -> None:
    answer = launch("bench", what, "--list")
    assert (answer.code, answer.err) == (0, "")
    assert [line.split()[0] for line in answer.out.splitlines()] == [measure.name for measure in measures]


def test_the_table_of_real_workers_without_the_peers_that_are_no_requirement(tmp_path: Path) -> None:
    for name in ("torch", "tokamax"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('hidden by a test')")
    workdir = tmp_path / "W"
    words = ("bench", "attention", "--only=decode,compile", f"--workdir={workdir}", *TINY)
    answer = launch(*words, environment={"PYTHONPATH": str(tmp_path)})
    assert answer.code == 0, answer.err
    table = (workdir / "table.md").read_text()
    assert answer.out.startswith(table)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:2] == "| "]
    found = {(row[0], row[2]): row for row in rows[2:]}
    assert [row[2] for row in rows[2:]] == ["attention_jax, all again", "jax.nn, all again", "jax.nn"]
    assert float(found["one more token after 15 in a cache", "jax.nn, all again"][-1]) < 1e-5
    assert "- tokamax, compile time, forward + backward, causal, T=16: tokamax cannot be imported (hidden" in table
    lines = read_jsonl(workdir / "samples.jsonl")
    samples = [line for line in lines if line["kind"] == "sample"]
    peers = [(line["peer"], line["round"]) for line in samples if line["measure"] == "decode"]
    everyone = ("attention_jax", "attention_jax, all again", "jax.nn, all again")
    assert peers == [(peer, number) for number in (0, 1) for peer in everyone]
    workers = {(line["group"], line["process"]): line["pid"] for line in lines if line["kind"] == "environment"}
    assert {(line["group"], line["process"]) for line in samples} == workers.keys()
    assert len(set(workers.values())) == 2, "each measure has its own group of processes"
    assert "decode 1/1: one more token after 15 in a cache" in answer.err.splitlines()


REFUSED = {
    "layers": "there is no bench 'layers': try bench attention or bench step or bench decode.",
    "decode --layers=2": "--layers is not an option of bench decode: leave it out.",
    "decode --new_tokens=0": "--new_tokens=0 is too small: give at least 1.",
    "step --engine=dense": "--engine is not an option of bench step: leave it out.",
    "attention --layers=2": "--layers is not an option of bench attention: leave it out.",
    "attention --tokens=16,32": "--tokens takes several numbers beside --variants alone: give one, or --variants=all.",
    "step --variants=all": "--variants is not an option of bench step: leave it out.",
    "attention --variants=linear --only=causal": "--only is not an option beside --variants: leave it out.",
    "step --only=decode": "there is no measure 'decode'.",
    "step --layers=0": "--layers=0 is too small: give at least 1.",
    "attention --only=decod": "there is no measure 'decod'. Did you mean 'decode'?",
    "attention --only=": "there is no measure ''.",
    "attention --engine=dens": "there is no engine 'dens'. Did you mean 'dense'?",
    "attention --tokens=2": "--tokens=2 is too small: give at least 16.",
    "attention --repeats=0": "--repeats=0 leaves nothing to measure: give at least 1.",
}


def test_what_cannot_be_measured_is_refused_in_one_line(tmp_path: Path) -> None:
    commands = [["bench", *words.split(), f"--workdir={tmp_path / 'W'}"] for words in REFUSED]
    for said, answer in zip(REFUSED.values(), answers(commands, environment={}), strict=True):
        assert_refused(answer, (said,), about=answer)
    assert not (tmp_path / "W").exists()


@pytest.mark.parametrize("words", ["bench", "bench attention --tokens=many", "bench attention --tokns=4"])
def test_a_usage_error_is_one_line(words: str) -> None:
    answer = launch(*words.split())
    assert_refused(answer, ("--help.",), about=answer)
