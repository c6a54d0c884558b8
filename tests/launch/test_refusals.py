"""Input that cannot be used: one line that says so and the way out, exit code 2, and nothing written."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.launch.command_line import RECALL, ROOT, Answer, contents, launch, write_config
from tests.launch.conftest import Finished

# One process for many commands: importing takes longer than refusing.
DRIVER = """
import contextlib, io, json, sys
import launch

answers = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = launch.main(words)
    answers.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(answers))
"""

TEXT = {**RECALL, "data": {"name": "text_file", "path": "", "context": 8}}
CHARACTERS = {**RECALL, "data": {"name": "tfds_characters", "dataset": "tiny_shakespeare", "context": 8}}
LOOKS_BOTH_WAYS = '''
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Source, register

@register(source=Source("this test", "none"), claims=Claims(causal="no"))
def both_ways() -> SoftmaxScore:
    """Has no causal form."""
    return SoftmaxScore()
'''
UNREAD = """
import numpy as np
from attention_jax import data
from attention_jax.data.dataset import ArraySource, Dataset, register
from ml_collections import ConfigDict

def noted() -> Dataset:
    tokens = np.zeros((96, 4), np.int32)
    source = ArraySource({"inputs": tokens, "targets": tokens, "weights": tokens, "notes": np.zeros(96)})
    return Dataset(splits={"train": source, "validation": source}, facts={"vocabulary_size": 2, "length": 4})

# The file is run anew for each command.
if "noted" not in data.names():
    register(noted)

def get_config():
    return ConfigDict({**%r, "data": {"name": "noted"}})
"""


@dataclass(frozen=True)
class Bad:
    """A command and what its one line must say."""

    words: tuple[str, ...]
    says: tuple[str, ...]
    command: str = "train"


def answers(commands: list[list[str]], *, environment: dict[str, str]) -> list[Answer]:
    """Runs commands one after the other in one process."""
    process = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=ROOT,
        env={**os.environ, **environment},
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return [Answer(*answer) for answer in json.loads(process.stdout)]


def assert_refused(answer: Answer, says: tuple[str, ...], about: object) -> None:
    """Checks for exit code 2 and one line on stderr, and nothing else."""
    assert (answer.code, answer.out) == (2, ""), about
    assert answer.err.startswith("error: "), about
    assert answer.err.endswith("\n"), about
    assert answer.err.count("\n") == 1, about
    for words in says:
        assert words in answer.err, about


def bad_input(folder: Path) -> list[Bad]:
    """The commands, on files in the folder; all are given a workdir that does not exist, unless they name one."""
    (folder / "empty.txt").write_text("")
    (folder / "both_ways.py").write_text(LOOKS_BOTH_WAYS)
    (folder / "broken.py").write_text("def get_config(:\n")
    (folder / "occupied").write_text("a file, and no folder")
    (folder / "unread.py").write_text(UNREAD % RECALL)
    both_ways = f"{folder / 'both_ways.py'}:both_ways"

    def recall(*overrides: str) -> tuple[str, ...]:
        return (write_config(folder / "recall.py", RECALL), *(f"--config.{override}" for override in overrides))

    def other(name: str, sections: dict[str, Any]) -> tuple[str, ...]:
        return (write_config(folder / f"{name}.py", sections),)

    empty = {**TEXT, "data": {**TEXT["data"], "path": str(folder / "empty.txt")}}
    (folder / "lengths.txt").write_text("abcdefgh##" * 8 + "ab##" + "abc##" * 2)
    of_lengths = {"name": "text_documents", "path": str(folder / "lengths.txt"), "context": 8, "separator": "##"}
    lengths = {**RECALL, "data": {**of_lengths, "buckets": (1, 8)}, "batch_size": 4}
    demo = "--config=experiments/demo.py"
    return [
        Bad(recall("model.attention=scaled_dt"), ("'scaled_dt'", "Did you mean 'scaled_dot'?")),
        Bad(recall("model.attention=sliding_window:windw=4"), ("'windw'", "Did you mean 'window'?")),
        Bad(recall("model.attention=sliding_window:window=0"), ("Window(0)", "at least 1")),
        Bad(recall("model.attention=sliding_window:window=-1"), ("Window(-1)", "at least 1")),
        Bad(recall(f"model.attention={both_ways}"), (both_ways, "no causal form", "Use variant scaled_dot.")),
        Bad(recall("model.attention=absent.py:mine"), ("'absent.py' does not exist",)),
        Bad(recall("model.num_heads=3"), ("3 heads do not divide the width 16", "such as 2")),
        Bad(recall("model.widht=32"), ("'model.widht'", "Did you mean 'model.width'?")),
        Bad(recall("stps=3"), ("'stps'", "Did you mean 'steps'?")),
        Bad(recall("steps=many"), ("steps=many", "int")),
        Bad(recall("steps=0"), ("steps", "epochs", "examples")),
        Bad(recall("batch_size=97"), ("batch_size=97", "train split (96 examples)", "give at most that")),
        Bad(recall("optimizer.name=adam"), ("'adam'", "Did you mean 'adamw'?")),
        Bad(other("key", {**RECALL, "bach_size": 3}), ("'bach_size'", "Did you mean 'batch_size'?")),
        Bad(other("text", empty), ("empty.txt", "0 characters", "use a longer text")),
        Bad(other("tfds", CHARACTERS), ("tiny_shakespeare", "`python launch.py prepare tiny_shakespeare`")),
        Bad(("--config=experiments/dem.py",), ("'experiments/dem.py'", "Did you mean 'experiments/demo.py'?")),
        Bad((f"--config={folder / 'broken.py'}",), ("broken.py", "not valid Python", "line 1")),
        Bad(recall("seed=-1"), ("seed=-1", "at least 0")),
        Bad(recall("seed=4294967296"), ("seed=4294967296", "at most 4294967295")),
        Bad(recall("seed=1.5"), ("seed=1.5", "it takes int")),
        Bad(recall("data.seed=-1"), ("mqar seed=-1", "at least 0")),
        Bad(recall("data.seed=4294967296"), ("mqar seed=4294967296", "at most 4294967295")),
        Bad(
            (f"--config={folder / 'unread.py'}",),
            ("gives notes", "GPT (it reads inputs", "token_prediction", "without"),
        ),
        Bad(other("lengths", lengths), ("batch_size 4", "the fewest of one length", "use at most")),
        Bad(recall("init.source=none.safetensors"), ("'none.safetensors' cannot be read", "a file that can")),
        Bad(recall(f"init.source={folder}"), ("no .safetensors file and no folder of a run", "give one of the two")),
        Bad(recall("init.skip=('head/.*',)"), ("init.rename and init.skip are of an init.source",)),
        Bad((demo,), ("experiments/demo.py", "use launch.py compare")),
        Bad((*recall(), f"--workdir={folder / 'occupied'}"), ("occupied' cannot be used", "Give another --workdir.")),
        Bad((*recall(), f"--workdir={folder / 'occupied' / 'W'}"), ("occupied/W' cannot be used", "another --workdir")),
        Bad(recall(), ("holds no checkpoint: train first",), command="eval"),
        Bad((demo, "--variants=scaled_dt,linear"), ("'scaled_dt'", "'scaled_dot'"), command="compare"),
        Bad((demo, "--variants=linear,sliding_window:window=0"), ("Window(0)",), command="compare"),
        Bad((demo, "--variants=linear,linear"), ("'linear' twice",), command="compare"),
        Bad((demo, "--variants="), ("no variants",), command="compare"),
        Bad((demo, "--seeds=0,-1"), ("seeds=0,-1", "at least 0"), command="compare"),
        Bad((demo, "--seeds=0,4294967296"), ("seed=4294967296", "at most 4294967295"), command="compare"),
        Bad((demo, f"--seeds={'9' * 5000}"), ("whole numbers",), command="compare"),
        Bad((demo, "--seeds=0,,1"), ("seeds=0,,1", "whole numbers"), command="compare"),
        Bad((demo, "--seeds=2,02"), ("2 twice",), command="compare"),
        Bad((*recall("seed=-1"),), ("seeds=-1", "at least 0"), command="compare"),
        Bad(
            (demo, "--tune=optimizer.learning_rat=[1,2]"),
            ("Did you mean 'optimizer.learning_rate'?",),
            command="compare",
        ),
        Bad((demo, "--tune=optimizer.learning_rate=log(1,2)"), ("no grid", "--trials=N"), command="compare"),
        Bad((demo, "--tune=data.seed=[1,2]"), ("--tune: data.seed changes what is measured",), command="compare"),
        Bad((demo, "--trials=3"), ("trials=3: nothing is tuned", "--tune"), command="compare"),
        Bad((demo, "--vary=patches"), ("--vary=patches: say which", "base:=,wide:="), command="compare"),
        Bad((demo, "--vary=patches", "--variants=a:=,b:="), ("'a' and 'b' are the same",), command="compare"),
        Bad(
            other("both", {"benchmarks": {"r": RECALL}, "variants": ("linear",), "patches": {"a": {}}}),
            ("it has variants and patches", "leave out the other"),
            command="compare",
        ),
        Bad(
            other("tuned", {"benchmarks": {"r": RECALL}, "tune": {"spaces": "x"}}),
            ("config.tune has no option 'spaces'", "Did you mean 'space'?"),
            command="compare",
        ),
        Bad((demo, "--seeds=one"), ("seeds=one", "whole numbers"), command="compare"),
        Bad((*recall("batch_size=97"), "--seeds=0"), ("benchmark recall: batch_size=97",), command="compare"),
        Bad(other("tfds", CHARACTERS), ("benchmark tfds: ", "launch.py prepare tiny_shakespeare"), command="compare"),
    ]


def test_bad_input_is_refused_in_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    cases = bad_input(tmp_path)
    before = contents(tmp_path)
    commands = [[case.command, f"--workdir={tmp_path / 'W'}", *case.words] for case in cases]
    given = answers(commands, environment={"TFDS_DATA_DIR": str(tmp_path / "no_sets")})
    for case, answer in zip(cases, given, strict=True):
        assert_refused(answer, case.says, about=(case, answer))
    assert contents(tmp_path) == before
    assert not (tmp_path / "W").exists()


def test_a_record_that_cannot_be_read_is_refused_before_the_folder_is_claimed(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", RECALL)
    broken, folder = tmp_path / "broken", tmp_path / "folder"
    broken.mkdir()
    (broken / "results.jsonl").write_text("no JSON\n{}\n")
    (folder / "results.jsonl").mkdir(parents=True)
    before = contents(tmp_path)
    commands = [["compare", config, f"--workdir={workdir}"] for workdir in (broken, folder)]
    said = (("line 1 of", "is not JSON"), ("cannot be used", "another --workdir"))
    for words, answer in zip(said, answers(commands, environment={}), strict=True):
        assert_refused(answer, words, about=answer)
    assert contents(tmp_path) == before


def test_eval_writes_nothing_into_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", RECALL)
    (tmp_path / "W" / "checkpoints").mkdir(parents=True)
    answer = launch("eval", config, f"--workdir={tmp_path / 'W'}")
    assert_refused(answer, ("holds no whole checkpoint",), about=answer)
    assert [path.name for path in (tmp_path / "W").rglob("*")] == ["checkpoints"]


def test_a_folder_of_another_config_is_refused_and_left_as_it_was(finished: Finished) -> None:
    before = contents(finished.workdir)
    words = [finished.config, f"--workdir={finished.workdir}", "--config.steps=99"]
    commands = ("train", "eval", "compare")
    given = answers([[command, *words] for command in commands], environment={})
    for command, answer in zip(commands, given, strict=True):
        assert_refused(answer, ("holds the run of another config", "give another --workdir"), about=answer)
        if command != "compare":
            assert "steps is 120 there and 99 here" in answer.err
    assert contents(finished.workdir) == before
