"""Baselines: what they score, on which split, and what the reports say of them."""

import json

import numpy as np
import pytest
from PIL import Image

from attention_jax.study.baselines.linear import linear_baselines
from attention_jax.study.baselines.measure import measure_baselines
from attention_jax.study.baselines.ngrams import ngram_baselines
from attention_jax.study.comparison.plan import Plan
from attention_jax.study.report.baseline_lines import baseline_lines
from attention_jax.study.report.report import summarise
from attention_jax.study.report.summary import summaries


@pytest.fixture
def table(tmp_path):
    """A section `data` of 90 texts, of which a word says the class."""
    rows = [
        f"the {'good' if number % 3 else 'bad'} film {number},{'pos' if number % 3 else 'neg'}" for number in range(90)
    ]
    path = tmp_path / "own.csv"
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return {"name": "text_classification", "path": str(path), "context": 9, "tokens": "words", "test_fraction": 0.2}


TASK = {"name": "classification", "metric": "accuracy"}


def test_the_majority_and_logistic_regression_of_texts(table):
    majority, logistic = linear_baselines(table, metric="accuracy")
    assert (majority["name"], majority["score"]) == ("majority class", pytest.approx(2 / 3))
    assert logistic["score"] == 1.0
    assert logistic["name"] == "logistic regression on TF-IDF of words, pairs of them, and 2 to 4 characters"
    majority, logistic = linear_baselines(table, metric="loss")
    share = np.array([22, 43]) / 65  # of 21 and 42 training texts, and one more of each
    assert majority["score"] == pytest.approx(
        -(share[::-1] * [2, 1] @ [0, 0] + (np.log(share) @ [6, 12]) / 18), rel=1e-6
    )
    assert 0 < logistic["score"] < 0.3


def test_logistic_regression_of_pixels(tmp_path):
    rng = np.random.default_rng(0)
    for number, name in enumerate(("dark", "light")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for index in range(20):
            pixels = rng.integers(0, 100, (8, 8), np.uint8) + 100 * number
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"own/{name}/{index}.png")
    folder = {"name": "image_folder", "path": str(tmp_path / "own"), "size": (8, 8), "grey": True}
    majority, logistic = linear_baselines(folder, metric="accuracy")
    assert (majority["score"], logistic["score"], logistic["name"]) == (0.5, 1.0, "logistic regression on the pixels")


def test_unigram_and_bigram_are_those_of_the_equation(tmp_path):
    text = "ab" * 45 + "ba" * 5
    (tmp_path / "own.txt").write_text(text)
    unigram, bigram = ngram_baselines(
        {"name": "text_file", "path": str(tmp_path / "own.txt"), "context": 8}, metric="loss"
    )
    # 90 characters train: 44 times a and 45 times b are predicted; b follows each a, a each b, so kinds are 1 and 1.
    p = {"a": 45 / 91, "b": 46 / 91}
    after = {"ab": (45 + p["b"]) / 46, "aa": p["a"] / 46, "ba": (44 + p["a"]) / 45, "bb": p["b"] / 45}
    held_out = text[90:]
    assert unigram["score"] == pytest.approx(-np.mean([np.log(p[after]) for after in held_out[1:]]))
    pairs = [held_out[place : place + 2] for place in range(len(held_out) - 1)]
    assert bigram["score"] == pytest.approx(-np.mean([np.log(after[pair]) for pair in pairs]))


def test_rows_of_documents_count_each_predicted_token_once(tmp_path):
    (tmp_path / "own.txt").write_text("\n\n".join(["abcabc", "cab", "abcab"] * 8))
    data = {"name": "text_documents", "path": str(tmp_path / "own.txt"), "context": 4}
    unigram, bigram = ngram_baselines(data, metric="accuracy")
    assert unigram["score"] < 0.6 < bigram["score"] == 1.0


def test_they_are_measured_once_and_the_reports_say_them(table, tmp_path, result, capsys, monkeypatch):
    workdir = tmp_path / "study"
    benchmarks = {"own": {"data": table, "task": TASK}}
    measure_baselines(benchmarks, workdir)
    stored = (workdir / "baselines.json").read_text()
    monkeypatch.setattr("attention_jax.study.baselines.measure.linear_baselines", None)
    measure_baselines(benchmarks, workdir)
    assert (workdir / "baselines.json").read_text() == stored
    assert json.loads(stored)["own"]["of"]["data"]["path"] == table["path"]

    plan = Plan(("own",), ("scaled_dot", "linear"), (0, 1, 2))
    results = [result(name, seed, score, benchmark="own") for name, score in (("scaled_dot", 0.9), ("linear", 1.0))
               for seed in plan.seeds]  # fmt: skip
    (summary,) = summaries(plan, results)
    lines = baseline_lines(summary, workdir)
    assert lines[0].startswith("Baselines on own, test_accuracy: majority class 0.6667, logistic regression on ")
    assert lines[1:] == [
        "linear is 0.3333 better than the majority class, equal to logistic regression.",
        "scaled_dot is 0.2333 better than the majority class, 0.1000 worse than logistic regression.",
    ]
    summarise(plan, results, workdir, command="c")
    assert "0.1000 worse than logistic" in " ".join(capsys.readouterr().out.split())
    for name in ("report.md", "report.html"):
        assert lines[2] in (workdir / name).read_text()


def test_without_baselines_nothing_is_said(result, tmp_path):
    plan = Plan(("own",), ("scaled_dot",), (0,))
    (summary,) = summaries(plan, [result("scaled_dot", 0, 0.9, benchmark="own")])
    assert baseline_lines(summary, tmp_path) == []
