"""docs/results.md: regenerated from what is declared and measured, and in no other way."""

import re
from pathlib import Path

import pytest

from attention_jax.study.reproduction.declaration import Expected, Figure
from attention_jax.study.reproduction.rows import find_rows
from attention_jax.study.reproduction.run import Places
from attention_jax.study.reproduction.standing import standings
from attention_jax.study.reproduction.table import seconds_left, state_of, table
from tests.launch.command_line import ROOT
from tests.study.reproduce_cases import make_comparison, make_line, make_row

FIGURES = {
    "floor": Figure(4.0, "chance"),
    "reference": Figure(1.0, "5-gram"),
    "published": Figure(0.5, "a paper"),
}


def cells(text: str, first: str) -> dict[str, str]:
    """Returns the first line of a table that begins with a word, by its columns."""
    lines = text.splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith(f"| {first} |"))
    head = max(other for other in range(place) if lines[other].startswith("|---") or lines[other].startswith("| ---"))
    parts = [[part.strip() for part in lines[line].strip("|").split(" | ")] for line in (head - 1, place)]
    return dict(zip(*parts, strict=True))


def test_the_table_in_the_docs_is_what_is_declared_and_measured(monkeypatch):
    monkeypatch.chdir(ROOT)
    rows = find_rows(Path("experiments"))
    expected = table(rows, Places(Path("none"), ROOT / "docs" / "results").lines(rows))
    said = "docs/results.md is not what the rows and the raw lines give: run `python launch.py reproduce --table`."
    assert (ROOT / "docs" / "results.md").read_text() == expected, said
    assert {"shakespeare_gpt", "fashion_vit", "packed_gpt", "demo", "digits_learning_rate"} <= {r.name for r in rows}


def test_a_row_has_its_score_with_its_interval_and_every_figure():
    row = make_row(metric="test_loss", bar=0.2, **FIGURES)
    found = cells(table([row], {"one": [make_line(row, seed, 0.2 + seed / 20) for seed in range(3)]}), "system one")
    assert found == {
        "system": "system one",
        "data": "none",
        "command": "`python launch.py reproduce one`",
        "measure": "test_loss",
        "score": "0.2500 ± 0.1242",
        "seeds": "3 of 3",
        "expected": "0.2500 within 0.1000",
        "bar": "0.2000: missed",
        "state": "reproduced",
        "floor": "4.0000 (chance)",
        "reference": "1.0000 (5-gram)",
        "published": "0.5000 (a paper)",
        "time of a run": "1m30s",
        "where": "a CPU, 2 cores, jax 0.10.1, commit abc",
    }


def test_a_row_that_has_not_run_says_so_with_its_cost():
    found = cells(table([make_row(core_minutes=20.0)], {}), "system one")
    assert (found["score"], found["state"], found["seeds"]) == ("-", "not run yet: costs 1h00m", "0 of 3")


def test_a_stale_row_and_one_off_its_score_say_so():
    row = make_row()
    stale = table([make_row(version=2)], {"one": [make_line(row)]})
    assert cells(stale, "system one")["state"] == "stale, run again: costs 3m00s"
    assert cells(stale, "system one")["score"] == "-"
    assert cells(table([row], {"one": [make_line(row, 0, 0.9)]}), "system one")["state"] == "not reproduced"


@pytest.mark.parametrize(("seeds", "said"), [(2, "+0.5050 ± 0.0635, too few seeds"), (5, "+0.5200 ± 0.0196, better")])
def test_a_comparison_has_a_row_of_each_variant_and_says_whether_it_is_above_its_control(seeds, said):
    row = make_comparison(expected={"recall / a": Expected(0.9, 0.1)})
    lines = [
        make_line(row, seed, score + seed / 100, place=place)
        for seed in range(seeds)
        for place, score in ((0, 0.9 + seed / 100), (1, 0.4))
    ]
    text = table([row], {"pair": lines})
    assert "### recall: test_accuracy; the control, its floor, is `none`" in text
    found = cells(text, "`a`")
    assert found["against the control"] == said
    assert found["against the first"] == "-"
    assert cells(text, "`none`")["against the first"] == said.replace("+", "-").replace("better", "worse")
    assert found["state"] == "reproduced"
    assert cells(text, "`none`")["against the control"] == "-"
    assert text.count("not run yet: costs 3m00s") == 2


def test_further_measures_of_a_comparison_are_columns_of_it():
    row = make_comparison(also=("validation_2x_loss",))
    lines = [
        make_line(row, seed, 0.5, scores={"test_accuracy": 0.5, "validation_2x_loss": 2.0 + seed / 4})
        for seed in range(3)
    ]
    text = table([row], {"pair": lines})
    assert cells(text, "`a`")["validation_2x_loss"] == "2.2500 ± 0.6210"
    assert cells(text, "`none`")["validation_2x_loss"] == "-"


def test_the_state_of_a_row_in_a_few_words():
    row, pair = make_row(), make_comparison()

    def state(row, *lines):
        found = standings(row, lines)
        return state_of(found), seconds_left(row, found)

    assert state(row) == ("not run yet", 180.0)
    assert state(row, make_line(row)) == ("1 of 3 seeds: reproduced", 120.0)
    assert state(row, make_line(row, 0, 0.9)) == ("1 of 3 seeds: not reproduced", 120.0)
    assert state(make_row(version=2), make_line(row)) == ("stale: run again", 180.0)
    assert state(pair, make_line(pair)) == ("0 of 3 seeds: measured, not run yet", 3 * 240.0 - 60.0)


def test_the_readme_has_the_scores_of_the_table():
    docs, shown = (_by_command((ROOT / name).read_text()) for name in ("docs/results.md", "README.md"))
    assert len(shown) >= 3
    for command, line in shown.items():
        _, _, _, _, score, seeds, *_ = docs[command].split(" | ")
        count = int(seeds.partition(" ")[0])
        assert line.endswith(f" {score}, {count} seed{'' if count == 1 else 's'} |"), command


def _by_command(text: str) -> dict[str, str]:
    """The rows of tables that have a command, by the name of what it reproduces."""
    found = re.finditer(r"^\| .*`python launch.py reproduce (\w+)` \|.*$", text, re.MULTILINE)
    return {match[1]: match[0] for match in found}
