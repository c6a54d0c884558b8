"""report.csv: every run of the plan, with all that its line of results.jsonl says."""

import csv
import dataclasses
import io

from attention_jax.study.comparison.results import Result
from attention_jax.study.report.csv_table import runs_csv


def test_a_row_for_every_run_with_its_command(plan, mixed):
    results = [dataclasses.replace(mixed[0][0], versions={"jax": "1", "flax": "2"}, beside=1), *mixed[0][1:-1]]
    rows = list(csv.DictReader(io.StringIO(runs_csv(plan, results, lambda trial: f"train '{trial}', alone"))))
    assert [(row["benchmark"], row["variant"], int(row["seed"])) for row in rows] == [
        (trial.benchmark, trial.variant, trial.seed) for trial in plan.trials()
    ]
    first = rows[0]
    assert (first["versions.jax"], first["versions.flax"], first["beside"], first["ms_per_step"]) == (
        "1",
        "2",
        "1",
        "20.0",
    )
    assert first["command"] == "train 'listops / scaled_dot / seed 0', alone"
    assert rows[-1]["status"] == "not run"
    assert rows[-1]["score"] == ""
    failed = next(row for row in rows if row["status"] == "failed")
    assert failed["reason"] == "the loss is nan\nat step 40"


def test_it_has_every_field_of_a_result(plan, mixed):
    head = runs_csv(plan, mixed[0], None).splitlines()[0].split(",")
    names = [field.name for field in dataclasses.fields(Result)]
    assert head == [*names, "command"]
