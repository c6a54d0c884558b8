"""A run from its start to its score, and what one does with it afterwards."""

import json
import re
import shutil
from pathlib import Path

from attention_jax.training import Experiment
from attention_jax.training.checkpoints import Checkpoints
from tests.launch.command_line import RECALL, ROOT, contents, launch, read_jsonl, write_config
from tests.launch.conftest import Finished
from tests.launch.test_refusals import answers


def test_train_says_its_score_and_eval_says_the_same(finished: Finished) -> None:
    outcome = json.loads((finished.workdir / "outcome.json").read_text())
    score = f"{outcome['metric']} {outcome['score']:.6g}"
    said = finished.answer.out.splitlines()
    assert said[0] == score
    assert said[1].startswith(f"{outcome['steps']} steps, {outcome['ms_per_step']:.3g} ms each")
    assert said[1].endswith(f"; compiled in {outcome['compile_seconds']:.1f} s")
    assert re.fullmatch(r"[\d.]+k? tokens/s, [\d.]+[kM] FLOP a step, MFU [\d.]+% of .+, [\d.]+% .+ for data", said[2])
    assert said[3] == f"losses: {finished.workdir / 'metrics.jsonl'}"
    assert said[4].startswith(f"evaluate again: python launch.py eval {finished.config} ")

    before = contents(finished.workdir)
    eval_words = said[4].removeprefix("evaluate again: python launch.py ").split()
    answer = launch(*eval_words)
    assert (answer.code, answer.err) == (0, "")
    last = read_jsonl(finished.workdir / "metrics.jsonl")[-1]
    step = last.pop("step")
    assert answer.out == f"step {step}  {'  '.join(f'{name} {value:.6g}' for name, value in last.items())}\n"
    assert score in answer.out
    assert contents(finished.workdir) == before


def test_what_is_to_be_traced_or_evaluated_is_refused_in_a_line_where_it_is_not(finished: Finished) -> None:
    before = contents(finished.workdir)
    refusals = {
        ("train", "--profile=9:130"): "--profile=9:130 goes past the last step, 120: give an END of at most 121.",
        (
            "eval",
            "--checkpoint=7",
        ): "--checkpoint=7: there is no checkpoint of that step: give --checkpoint=last, or one of the steps 119, 120.",
    }
    where = (finished.config, f"--workdir={finished.workdir}")
    given = answers([[*words, *where] for words in refusals], environment={})
    for answer, said in zip(given, refusals.values(), strict=True):
        assert (answer.code, answer.out, answer.err) == (2, "", f"error: {said}\n")
    assert contents(finished.workdir) == before


def test_the_best_is_scored_and_evaluated_by_the_command_that_the_run_ends_with(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", RECALL)
    words = ["--config.checkpoint.best=True", f"--workdir={tmp_path / 'run'}", "--profile", "3:5"]
    answer = launch("train", config, *words)
    assert answer.code == 0, answer.err
    assert "steps 3 to 4 are traced: open " in answer.err
    outcome = json.loads((tmp_path / "run" / "outcome.json").read_text())
    best, again = answer.out.splitlines()[0], answer.out.splitlines()[-1]
    assert best == f"{outcome['metric']} {outcome['score']:.6g} (the best, of step {outcome['score_step']})"
    command = f"python launch.py eval {config} {' '.join(words[:2])} --checkpoint=best"
    assert again == f"evaluate again: {command}"
    answer = launch(*command.split()[2:])
    assert answer.code == 0, answer.err
    assert answer.out.startswith(f"step {outcome['score_step']}  ")
    assert f"{outcome['metric']} {outcome['score']:.6g}" in answer.out


def test_the_losses_have_their_names_and_cadences(finished: Finished) -> None:
    lines = read_jsonl(finished.workdir / "metrics.jsonl")
    assert [line["step"] for line in lines if "train_loss" in line] == list(range(1, 121))
    assert [line["step"] for line in lines if "validation_loss" in line] == list(range(10, 121, 10))
    assert [line["step"] for line in lines if "test_loss" in line] == [120]
    assert lines[-1]["validation_loss"] < lines[10]["validation_loss"]


def test_a_truncated_checkpoint_is_set_aside_and_the_one_before_is_used(finished: Finished, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(finished.workdir, workdir)
    data = max((workdir / "checkpoints" / "120").rglob("*"), key=lambda path: path.stat().st_size)
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])

    answer = launch("train", finished.config, f"--workdir={workdir}")
    assert answer.code == 0
    assert "checkpoint of step 120 is damaged" in answer.err
    assert "of step 119, is used" in answer.err
    assert "resuming from the checkpoint of step 119" in answer.err
    assert answer.out.splitlines()[0] == finished.answer.out.splitlines()[0]
    assert (workdir / "metrics.jsonl").read_bytes() == (finished.workdir / "metrics.jsonl").read_bytes()
    assert [path.name for path in (workdir / "damaged_checkpoints").iterdir()] == ["120.0"]
    assert Checkpoints(workdir, keep=2, say=print).steps() == [119, 120]


def test_a_run_that_diverges_fails_and_names_the_step(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", RECALL)
    answer = launch("train", config, f"--workdir={tmp_path / 'run'}", "--config.optimizer.learning_rate=1e30")
    assert (answer.code, answer.out) == (1, "")
    failure = answer.err.splitlines()[-1]
    assert failure.startswith("failed: the loss or its gradient is not finite from step 2 on; ")
    assert "optimizer.learning_rate" in failure
    assert "Traceback" not in answer.err
    # Step 1 was sound, and its update broke step 2: both are on record.
    assert [line["step"] for line in read_jsonl(tmp_path / "run" / "metrics.jsonl")] == [1, 2]


def test_the_attention_of_ones_own_that_the_readme_shows_trains(tmp_path: Path) -> None:
    example = (ROOT / "tests" / "launch" / "my_attention.py").read_text()
    assert f"```python\n{example}```" in (ROOT / "README.md").read_text()
    config = write_config(tmp_path / "recall.py", {**RECALL, "steps": 5})
    spec = "tests/launch/my_attention.py:my_attention"
    answer = launch("train", config, f"--workdir={tmp_path / 'mine'}", f"--config.model.attention={spec}")
    assert answer.code == 0, answer.err
    mine = json.loads((tmp_path / "mine" / "outcome.json").read_text())
    assert mine["steps"] == 5
    # What scaled_dot has, and one learned temperature for each of the two heads.
    assert mine["parameters"] == Experiment(**RECALL).parameters + 2


def test_the_model_of_ones_own_that_the_readme_shows_trains_and_is_compared(tmp_path: Path) -> None:
    file, readme = ROOT / "tests" / "examples" / "point_clouds.py", (ROOT / "README.md").read_text()
    shown = readme.partition('```python\n@models.register("point_transformer")')[2].partition("```")[0]
    assert len(shown) > 300
    assert shown in file.read_text()
    words = ("--config=" + str(file.relative_to(ROOT)), "--config.steps=5")
    changes = ("--config.model.norm=rms", "--config.model.gated=True")
    answer = launch("train", *words, *changes, f"--workdir={tmp_path / 'run'}")
    assert answer.code == 0, answer.err
    # Workers are other processes: they find model, data and task by the file.
    study = tmp_path / "study"
    answer = launch("compare", *words, "--variants=scaled_dot", "--seeds=0", "--workers=1", f"--workdir={study}")
    assert answer.code == 0, answer.err
    assert [line["status"] for line in read_jsonl(study / "results.jsonl")] == ["done"]
    answer = launch("train", *words, "--config.model.name=" + str(file) + ":point", f"--workdir={tmp_path / 'other'}")
    assert answer.code == 2
    assert "registers no model 'point'; it registers: point_transformer." in answer.err
