"""What evaluations say of a state, of a checkpoint, and of the progress of a run."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from attention_jax import tasks
from attention_jax.data import evaluation_batches
from attention_jax.kernels import Refused
from attention_jax.training import evaluate_checkpoint
from attention_jax.training.evaluations import History, evaluate, history
from tests.training import tiny

LOSSES = {4: 3.0, 8: 2.0, 12: 2.5, 16: 2.0, 20: 2.1, 24: 2.2}


def test_evaluating_the_checkpoint_gives_what_training_wrote(undisturbed, experiment):
    step, measures = evaluate_checkpoint(experiment, undisturbed.workdir)
    assert step == 24
    assert {"step": step, **measures} == tiny.lines(undisturbed.workdir)[-1]


def test_what_the_data_set_left_out_is_said(experiment, tmp_path, capsys):
    noted = tiny.variant(experiment, evaluation={"every": 0})
    noted.dataset = replace(experiment.dataset, notes=("2 of 42 pairs are left out",))
    _, said = tiny.run(noted, tmp_path)
    assert said.count("2 of 42 pairs are left out\n") == 1
    evaluate_checkpoint(noted, tmp_path)
    assert capsys.readouterr().err == "2 of 42 pairs are left out\n"


def test_evaluation_weighs_every_counted_position_once(experiment):
    state = experiment.create_state(0)
    totals = {"loss": 0.0, "accuracy": 0.0}
    for batch in evaluation_batches(experiment.dataset.splits["test"], batch_size=4):
        for row in np.flatnonzero(batch["valid"]):
            alone = {**batch, "valid": np.arange(4) == row}
            for name, ratio in experiment.evaluate_batch(state.variables, experiment.put(alone)).items():
                assert float(ratio.weight) == 1
                totals[name] += float(ratio.total)
    measures = evaluate(experiment, state, ("test",))
    assert measures == pytest.approx({f"test_{name}": total / 6 for name, total in totals.items()}, rel=1e-6)


def test_a_folder_without_a_checkpoint_cannot_be_evaluated(experiment, tmp_path):
    with pytest.raises(Refused, match="holds no checkpoint: train first"):
        evaluate_checkpoint(experiment, tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(Refused, match="holds no whole checkpoint"):
        evaluate_checkpoint(experiment, tmp_path)


@pytest.mark.parametrize(
    ("values", "higher", "best", "stale"),
    [
        ({}, False, None, 0),
        ({8: 1.0}, False, 8, 0),
        (LOSSES, False, 8, 4),
        (LOSSES, True, 4, 5),
        ({4: 1.0, 8: 1.0}, True, 4, 1),
        ({4: math.nan, 8: 5.0, 12: math.nan}, False, 8, 1),
        ({4: math.nan, 8: math.nan}, True, 4, 1),
        ({4: math.inf, 8: 5.0}, False, 8, 0),
    ],
)
def test_the_best_is_the_first_of_the_best_values(values, higher, best, stale):
    seen = History("validation_loss", values, higher)
    assert (seen.best(), seen.stale) == (best, stale)


def test_the_best_of_some():
    seen = History("validation_loss", LOSSES, False)
    assert [seen.best(among) for among in ({4, 12, 13}, {24}, {13}, set())] == [12, 24, None, None]


def test_the_history_is_read_off_the_lines():
    others = [{"step": 2, "train_loss": 3.0}, {"step": 8, "test_accuracy": 1.0}]
    lines = [{"step": 4, "validation_accuracy": "nan"}, *others]
    seen = history(tasks.build("classification"), lines)
    assert (seen.metric, seen.higher_is_better, list(seen.values)) == ("validation_accuracy", True, [4])
    assert math.isnan(seen.values[4])


@pytest.mark.parametrize("checkpoint", ["last", "24", "18"])
def test_any_checkpoint_that_is_there_is_evaluated(undisturbed, experiment, checkpoint):
    step, measures = evaluate_checkpoint(experiment, undisturbed.workdir, checkpoint=checkpoint)
    recorded = {line["step"]: line for line in tiny.lines(undisturbed.workdir) if "train_loss" not in line}
    assert step == (24 if checkpoint == "last" else int(checkpoint))
    assert measures.keys() == {"validation_loss", "validation_accuracy", "test_loss", "test_accuracy"}
    assert (measures["validation_loss"] == recorded[24]["validation_loss"]) == (step == 24)


def test_a_checkpoint_that_is_not_there_is_refused(undisturbed, experiment):
    for checkpoint, message in {
        "7": r"^--checkpoint=7: there is no .* of that step: give --checkpoint=last, or one of the steps 18, 24\.$",
        "first": r"^--checkpoint=first: give best, last or a step\.$",
        "-1": r"^--checkpoint=-1: give best",
    }.items():
        with pytest.raises(Refused, match=message):
            evaluate_checkpoint(experiment, undisturbed.workdir, checkpoint=checkpoint)


def test_the_best_that_was_not_kept_is_refused(undisturbed, experiment, tmp_path):
    shutil.copytree(undisturbed.workdir, tmp_path, dirs_exist_ok=True)
    log = tmp_path / "metrics.jsonl"
    better = [line | ({"validation_loss": 0.1} if line["step"] == 8 else {}) for line in tiny.lines(tmp_path)]
    log.write_text("".join(json.dumps(line) + "\n" for line in better))
    with pytest.raises(
        Refused, match=r"^--checkpoint=best: that of step 8 is not there; .*checkpoint\.best=True keeps it"
    ):
        evaluate_checkpoint(experiment, tmp_path, checkpoint="best")
    log.write_text("")
    with pytest.raises(Refused, match=r"^--checkpoint=best: nothing was evaluated"):
        evaluate_checkpoint(experiment, tmp_path, checkpoint="best")
