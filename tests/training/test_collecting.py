"""Scores of what is collected of a whole split: which rows, in which order, when, and where they land."""

import functools
import json
import shutil
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import tasks
from attention_jax.base.errors import Refused
from attention_jax.tasks.task import Task
from attention_jax.training import Experiment, evaluate_checkpoint
from attention_jax.training.collecting import scores_of
from attention_jax.training.given import given
from attention_jax.training.members import train_members
from tests.training import tiny
from tests.training.disturbance import Killed, at_batch, kill

SEEN: list[dict[str, np.ndarray]] = []
SCORES = ("exact_match", "noise_error")


def collect(model: Any, variables: Any, batch: Any, rng: jax.Array) -> dict[str, jax.Array]:
    """The likeliest token of each position, beside what it should be."""
    logits = model.apply(variables, batch["inputs"])
    noise = jax.random.uniform(rng, (len(logits),))
    return {"found": jnp.argmax(logits, -1), "noise": noise, **{name: batch[name] for name in ("targets", "weights")}}


def score(collected: dict[str, np.ndarray], dataset: Any, split: str) -> dict[str, float]:
    """The share of rows all of whose counted tokens are right."""
    SEEN.append(collected)
    right = (collected["found"] == collected["targets"]) | (collected["weights"] == 0)
    return {"exact_match": right.all(-1).mean(), "noise_error": collected["noise"].mean()}


@pytest.fixture(scope="module", autouse=True)
def _registered():
    """The task of this file, in the catalogue while its tests run."""

    @tasks.tasks.register
    def matched_tokens(*, metric: str = "loss") -> Task:
        return replace(tasks.build("token_prediction"), metric=metric, scores=SCORES, collect=collect, score=score)

    yield
    del tasks.tasks._builders["matched_tokens"]


@functools.cache
def built() -> Experiment:
    model = {"attention": "scaled_dot"}
    return Experiment(**tiny.sections(task={"name": "matched_tokens"}, model=model, mesh={"data": 1}))


def matched(metric: str = "loss", **changes: Any) -> Experiment:
    """Returns an experiment whose compiled step all tests share; the changes are of `evaluation` and `checkpoint`."""
    experiment = tiny.variant(built(), **changes)
    experiment.task = replace(experiment.task, metric=metric)
    experiment.config["task"] = {"name": "matched_tokens", "metric": metric}
    return experiment


def recorded(folder: Any, name: str) -> list[int]:
    return [line["step"] for line in tiny.lines(folder) if name in line]


def test_every_row_of_the_split_is_scored_once_in_its_order(tmp_path):
    experiment = matched()
    state = experiment.create_state(0)
    scores = scores_of(experiment, state, ("test", "validation"))
    assert scores.keys() == {f"{split}_{name}" for split in ("test", "validation") for name in SCORES}
    for split, seen in zip(("test", "validation"), SEEN[-2:], strict=True):
        source = experiment.dataset.splits[split]
        # Neither 6 nor 10 rows are a multiple of the 4 of a batch.
        wanted = source.gather(np.arange(len(source)))
        np.testing.assert_array_equal(seen["targets"], wanted["targets"])
        logits = jax.jit(experiment.model.apply)(state.variables, wanted["inputs"])
        np.testing.assert_array_equal(seen["found"], jnp.argmax(logits, -1))
        assert len(set(seen["noise"])) == len(source)
    assert scores_of(experiment, state, ("test", "validation")) == scores
    other = scores_of(experiment, experiment.create_state(1), ("test",))
    assert other["test_noise_error"] != scores["test_noise_error"]


def test_rows_of_several_lengths_are_in_the_order_of_the_split_and_filled_up(tmp_path):
    letters = "abcdefgh" * 3
    text = "#".join(letters[i % 8 : i % 8 + 2 + (i * 5) % 7] for i in range(120))
    (tmp_path / "documents.txt").write_text(text)
    data = {
        "name": "text_documents", "path": str(tmp_path / "documents.txt"), "context": 8, "separator": "#",
        "buckets": (4, 8),
    }  # fmt: skip
    experiment = Experiment(
        **tiny.sections(data=data, task={"name": "matched_tokens"}, model={"attention": "scaled_dot"}, mesh={"data": 1})
    )
    scores_of(experiment, experiment.create_state(0), ("validation",))
    source = experiment.dataset.splits["validation"]
    assert SEEN[-1]["targets"].shape == (len(source), 8)
    lengths = set()
    for place, row in enumerate(SEEN[-1]["targets"]):
        (wanted,) = source.gather(np.array([place]))["targets"]
        lengths.add(len(wanted))
        np.testing.assert_array_equal(row[: len(wanted)], wanted)
        assert (row[len(wanted) :] == 0).all()
    assert lengths == {4, 8}


def test_scores_come_at_the_end_of_the_run_and_again_after_a_kill(tmp_path):
    experiment = matched()
    tiny.run(experiment, tmp_path)
    assert recorded(tmp_path, "validation_exact_match") == recorded(tmp_path, "test_exact_match") == [24]
    before = (tmp_path / "metrics.jsonl").read_bytes()
    _, measures = evaluate_checkpoint(experiment, tmp_path)
    last, scored = tiny.lines(tmp_path)[-2:]
    assert measures == {name: value for name, value in {**last, **scored}.items() if name != "step"}
    # Killed between the last losses and the scores.
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(before.splitlines(keepends=True)[:-1]))
    tiny.run(experiment, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    tiny.run(experiment, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_score_decides_and_resumes_to_the_bit(tmp_path):
    experiment = matched("exact_match", checkpoint={"best": True})
    assert experiment.task.higher_is_better
    outcome, _ = tiny.run(experiment, tmp_path / "whole")
    values = {
        line["step"]: line["validation_exact_match"]
        for line in tiny.lines(tmp_path / "whole")
        if "validation_exact_match" in line
    }
    assert list(values) == [8, 16, 24]
    assert outcome.metric == "test_exact_match"
    assert values[outcome.score_step] == max(values.values())
    assert recorded(tmp_path / "whole", "test_exact_match") == [24]
    with at_batch(13, kill), pytest.raises(Killed):
        tiny.run(experiment, tmp_path / "killed")
    assert tiny.run(experiment, tmp_path / "killed")[0].score == outcome.score
    assert (tmp_path / "killed" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_every_evaluation_has_them_where_the_config_says_so(tmp_path):
    tiny.run(matched(evaluation={"collect": True}), tmp_path)
    assert recorded(tmp_path, "validation_exact_match") == [8, 16, 24]
    assert recorded(tmp_path, "test_noise_error") == [24]


def test_members_have_the_scores_of_each_alone(tmp_path):
    experiment = matched("noise_error")
    assert not experiment.task.higher_is_better
    folders = [tmp_path / str(seed) for seed in (0, 1)]
    train_members(experiment, [given(experiment, folder, seed=int(folder.name)) for folder in folders])
    for folder in folders:
        alone = tmp_path / f"alone_{folder.name}"
        tiny.run(experiment, alone, seed=int(folder.name))
        for line, expected in zip(tiny.lines(folder), tiny.lines(alone), strict=True):
            assert line == pytest.approx(expected, rel=1e-4, abs=1e-5)
    outcome = json.loads((folders[0] / "outcome.json").read_text())
    assert outcome["metric"] == "test_noise_error"
    shutil.rmtree(tmp_path)


def test_a_run_that_ends_early_is_scored_too(tmp_path):
    experiment = matched(evaluation={"patience": 1, "target": 100.0})
    outcome, _ = tiny.run(experiment, tmp_path)
    assert outcome.steps == 8
    assert recorded(tmp_path, "test_exact_match") == recorded(tmp_path, "validation_exact_match") == [8]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": ("a",)}, r"^a task gives some of scores, collect and score: give all three, or none\.$"),
        ({"collect": collect, "score": score}, "give all three, or none"),
        ({"scores": ("loss",), "collect": collect, "score": score, "slices": (1,)}, r"^a task has slices of loss, "),
    ],
)
def test_tasks_that_are_half_written_are_refused(changes, message):
    with pytest.raises(Refused, match=message):
        replace(tasks.build("token_prediction"), **changes)


def test_what_is_not_of_rows_and_scores_that_were_not_announced_are_refused(monkeypatch):
    experiment = matched()
    monkeypatch.setattr(experiment, "task", replace(experiment.task, score=lambda rows, dataset, split: {"bleu": 1.0}))
    with pytest.raises(Refused, match=r"^task matched_tokens gives the scores bleu and says .* exact_match, noise_err"):
        scores_of(experiment, experiment.create_state(0), ("test",))

    @tasks.tasks.register
    def mean_alone() -> Task:
        def mean(*given: Any) -> dict[str, jax.Array]:
            return {"mean": jnp.ones(())}

        return replace(tasks.build("token_prediction"), scores=("mean",), collect=mean, score=score)

    try:
        with pytest.raises(Refused, match=r"^task mean_alone collects mean \[\] of a batch of 4 rows: collect arrays"):
            Experiment(**tiny.sections(task={"name": "mean_alone"}))
    finally:
        del tasks.tasks._builders["mean_alone"]


def test_collecting_without_scores_is_refused():
    with pytest.raises(Refused, match=r"^evaluation\.collect=True, and task token_prediction has no score "):
        Experiment(**tiny.sections(evaluation={"collect": True}))
