"""Variants against the number of tokens: a line for each sample, the reason of each that is left out, one plot."""

import pytest

from attention_jax.bench import variants
from attention_jax.bench.variants import Shape, run_variants, table
from attention_jax.kernels import Refused
from attention_jax.training.run.workdir import read_lines

SHAPE = Shape(batch=1, heads=2, width=8)


def test_each_variant_has_a_line_for_each_round_and_a_place_in_the_table_and_the_plot(tmp_path, capsys):
    run_variants(["scaled_dot", "linear"], [32, 16], SHAPE, repeats=2, engine=None, workdir=tmp_path)
    lines = read_lines(tmp_path / "samples.jsonl")
    seen = [(line["tokens"], line["round"], line["variant"]) for line in lines]
    assert seen == [(t, n, spec) for t in (16, 32) for n in (0, 1) for spec in ("scaled_dot", "linear")]
    assert all(line["milliseconds"] > 0 and line["temporary_bytes"] > 0 for line in lines)
    assert {line["engine"] for line in lines} == {"dense", "recurrence"}
    text = (tmp_path / "table.md").read_text()
    assert text in capsys.readouterr().out
    assert text.splitlines()[0] == "| variant | T = 16 | T = 32 |"
    picture = (tmp_path / "plot.svg").read_text()
    assert picture.startswith("<svg")
    assert ">linear<" in picture


def test_one_that_is_refused_says_why_and_the_others_go_on(tmp_path):
    run_variants(["linear", "scaled_dot"], [16], SHAPE, repeats=1, engine="blockwise", workdir=tmp_path)
    left, sample = read_lines(tmp_path / "samples.jsonl")
    assert left["left_out"].startswith("engine blockwise cannot run linear here")
    assert sample["variant"] == "scaled_dot"
    assert f"- `linear` from T = 16 on: {left['left_out']}" in (tmp_path / "table.md").read_text()


def test_one_that_is_slow_is_left_out_at_more_tokens(tmp_path, monkeypatch):
    monkeypatch.setattr(variants, "LONGEST_SECONDS", 0.0)
    run_variants(["scaled_dot"], [16, 32], SHAPE, repeats=1, engine=None, workdir=tmp_path)
    first, second = read_lines(tmp_path / "samples.jsonl")
    assert (first["tokens"], second["tokens"]) == (16, 32)
    assert second["left_out"].startswith("a call took ")


def test_the_table_has_the_median_of_the_rounds():
    sample = {"variant": "a", "family": "f", "tokens": 8, "temporary_bytes": 1024}
    lines = [{**sample, "milliseconds": value} for value in (1.0, 9.0, 2.0)]
    assert "| `a` | 2 ms, 1.0 KiB |" in table(lines)


@pytest.mark.parametrize(("tokens", "repeats"), [([0], 1), ([16], 0)])
def test_numbers_that_leave_nothing_to_measure_are_refused(tmp_path, tokens, repeats):
    with pytest.raises(Refused, match="give at least 1 of each"):
        run_variants(["scaled_dot"], tokens, SHAPE, repeats=repeats, engine=None, workdir=tmp_path)
