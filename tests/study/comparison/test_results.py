"""results.jsonl: its lines, and what is made of a damaged one."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.comparison.plan import Trial
from attention_jax.study.comparison.results import append_result, read_results, unfinished, write_results

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
    "versions",
    "device",
    "devices",
    "xla_level",
    "compilations",
    "cache_hits",
    "cache_refused",
    "log",
    "beside",
    "members",
    "ms_per_step_spread",
    "tokens_per_second",
    "flops_per_step",
    "compile_seconds",
    "decode_bytes",
    "slices",
    "point",
]
OLD_KEYS = KEYS[:12]


@pytest.fixture
def results(result):
    return [
        result("scaled_dot", 0, 0.8),
        unfinished(Trial("listops", "linear", 0), status="refused", reason="ünfit"),
        unfinished(Trial("listops", "linear", 1), status="failed", reason="nan"),
    ]


def test_what_is_written_is_read_back(tmp_path, results):
    path = tmp_path / "new" / "results.jsonl"
    write_results(path, results)
    assert list(read_results(path).values()) == results
    assert list(read_results(path)) == [entry.trial for entry in results]


def test_lines_have_the_published_keys_in_their_order(tmp_path, results):
    write_results(tmp_path / "results.jsonl", results)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [list(line) for line in lines] == [KEYS] * 3
    assert lines[0]["reason"] is None
    assert [lines[1][key] for key in KEYS[3:10]] == [None] * 7
    assert (lines[1]["status"], lines[1]["reason"]) == ("refused", "ünfit")


def test_a_line_of_before_there_were_versions_is_read(tmp_path, results):
    entry = dataclasses.asdict(results[0])
    old = {key: entry[key] for key in OLD_KEYS}
    (tmp_path / "results.jsonl").write_text(json.dumps(old) + "\n")
    assert list(read_results(tmp_path / "results.jsonl").values()) == [
        dataclasses.replace(results[0], **dict.fromkeys(KEYS[12:]))
    ]


def test_the_published_results_are_read():
    published = Path(__file__).parents[3] / "docs" / "results" / "demo.jsonl"
    results = list(read_results(published).values())
    assert len(results) == 60
    assert {result.status for result in results} == {"done"}


def test_a_line_that_is_added_comes_last(tmp_path, results):
    path = tmp_path / "results.jsonl"
    write_results(path, results[:2])
    append_result(path, results[2])
    assert list(read_results(path).values()) == results


def test_no_file_means_no_results(tmp_path):
    assert read_results(tmp_path / "results.jsonl") == {}


def test_a_last_line_torn_at_any_byte_is_dropped(tmp_path, results):
    path = tmp_path / "results.jsonl"
    write_results(path, results[:2])
    whole = path.read_bytes()
    first_line_ends = whole.index(b"\n") + 1
    for end in range(first_line_ends, len(whole) - 1):  # the line is whole once only its newline is missing
        path.write_bytes(whole[:end])
        assert list(read_results(path).values()) == results[:1], f"torn at byte {end}"
    path.write_bytes(whole[:-1])
    assert list(read_results(path).values()) == results[:2]


def test_zeros_at_the_end_of_a_file_are_dropped(tmp_path, results):
    path = tmp_path / "results.jsonl"
    write_results(path, results[:1])
    path.write_bytes(path.read_bytes() + b"\x00" * 64)
    assert list(read_results(path).values()) == results[:1]


def test_a_damaged_line_in_the_middle_is_refused_by_number(tmp_path, results):
    path = tmp_path / "results.jsonl"
    write_results(path, results)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:30], lines[2]]) + "\n")
    with pytest.raises(Refused, match=r"line 2 of .*results\.jsonl is not JSON"):
        read_results(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.pop("reason"),
        lambda entry: entry.update(accuracy=1.0),
        lambda entry: entry.update(status="running"),
    ],
    ids=["missing key", "unknown key", "unknown status"],
)
def test_a_line_that_is_no_result_is_refused(tmp_path, result, change):
    entry = dataclasses.asdict(result("linear", 0, 0.5))
    change(entry)
    (tmp_path / "results.jsonl").write_text(json.dumps(entry) + "\n")
    with pytest.raises(Refused, match=r"line 1 of .* Delete it"):
        read_results(tmp_path / "results.jsonl")


def test_the_last_line_of_a_trial_counts(tmp_path, result):
    first, second = result("linear", 0, 0.5), result("linear", 0, 0.6)
    write_results(tmp_path / "results.jsonl", [first, second])
    assert list(read_results(tmp_path / "results.jsonl").values()) == [second]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path, results, monkeypatch):
    path = tmp_path / "results.jsonl"
    write_results(path, results[:1])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_results(path, results)
    assert list(read_results(path).values()) == results[:1]


def test_a_number_that_json_cannot_hold_is_not_written(tmp_path, result):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_results(tmp_path / "results.jsonl", [result("linear", 0, float("nan"))])
    assert not (tmp_path / "results.jsonl").exists()
