"""The table of all runs: each cell accounted for, and where it leads."""

import dataclasses
from html.parser import HTMLParser

from attention_jax.study.comparison.plan import Trial
from attention_jax.study.engine.compiler import versions
from attention_jax.study.report.provenance import facts_of
from attention_jax.study.report.run_table import accounted, run_table


class Rows(HTMLParser):
    """The rows of a table: of each its attributes, its text and its links."""

    def __init__(self, text: str):
        super().__init__()
        self.rows: list[tuple[dict, list[str], list[dict]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append((dict(attrs), [], []))
        elif tag == "a":
            self.rows[-1][2].append(dict(attrs))

    def handle_data(self, data):
        if data.strip():
            self.rows[-1][1].append(data.strip())


def of(plan, results, **changed):
    given = {"command_of": lambda trial: f"train {trial}", "charts": {}, **changed}
    return Rows(run_table(plan, results, **given)).rows[1:]


def test_every_cell_is_accounted_for(plan, mixed):
    assert accounted(plan, mixed[0]) == "18 runs: 14 done, 3 refused, 1 failed."
    assert accounted(plan, mixed[0][:-2]) == "18 runs: 12 done, 3 refused, 1 failed, 2 not run."
    rows = of(plan, mixed[0][:-2])
    assert [(texts[0], texts[1], texts[2]) for _, texts, _ in rows] == [
        (trial.benchmark, trial.variant, str(trial.seed)) for trial in plan.trials()
    ]
    assert [texts[3] for _, texts, _ in rows][-2:] == ["not run", "not run"]
    assert "the loss is nan at step 40" in rows[7][1]
    assert all(f"train {trial}" in texts for (_, texts, _), trial in zip(rows, plan.trials(), strict=True))


def test_a_run_leads_to_its_curve_and_its_log(plan, mixed):
    log = "runs/listops/performer%3Afeatures=64/0/log.txt"
    results = [dataclasses.replace(entry, log=log) for entry in mixed[0]]
    rows = of(plan, results, charts={Trial("listops", "scaled_dot", 0): "curves-0"})
    assert rows[0][2] == [
        {"href": "#curves-0", "data-run": "0 scaled_dot"},
        # The percent sign is part of the folder's name.
        {"href": "runs/listops/performer%253Afeatures%3D64/0/log.txt"},
    ]
    assert [attributes["id"] for attributes, _, _ in rows if "id" in attributes] == [
        f"runs-{benchmark}-{variant}" for benchmark in range(2) for variant in range(3)
    ]


def test_rows_of_other_versions_are_flagged(plan, mixed):
    here, other = versions(), {**versions(), "jax": "0.4.0"}
    results = [dataclasses.replace(entry, versions=here) for entry in mixed[0]]
    results[2] = dataclasses.replace(results[2], versions=other)
    flagged = [place for place, (_, texts, _) in enumerate(of(plan, results)) if "other versions" in " ".join(texts)]
    assert flagged == [2]
    assert facts_of(results)["other versions"].startswith("1 of 18 results are of other versions")


def test_compilations_and_cache_hits_are_counted(plan, mixed):
    results = [dataclasses.replace(entry, compilations=4, cache_hits=9, beside=0) for entry in mixed[0]]
    assert facts_of(results)["compilations"] == "XLA compiled 72 programs for these runs and loaded 162 from the cache"
    texts = of(plan, results)[0][1]
    assert texts[-3:] == ["alone", "4", "9"]
