"""XLA's levels of optimisation: whose word counts, and that a program is compiled at its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from attention_jax.training.compiling import LEVELS, compiler_options, xla_level

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own: JAX reads XLA_FLAGS once. Prints what each of two runs counts, and the level in words.
PROGRAM = """
import json, sys
import jax
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
from attention_jax.study.engine.session import Session
from attention_jax.training import compiling
from tests.training import tiny

job = {"do": "train", "program": "p", "devices": 1, "prunes": False}
config = {**tiny.sections(steps=4), "mesh": {"data": 1}, "seed": 0}
for name, step in (("one", 1), ("same", 1), ("other", 2)):
    compiling.LEVELS["step"] = step
    folder = sys.argv[1] + "/" + name
    cell = {"config": config, "folder": folder, "log": folder + "/log.txt", "tested": True}
    (event,) = Session(lambda event: None, lambda: True).work({**job, "cells": [cell]})
    print(json.dumps(event["facts"]))
"""


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("", "state 0, step 1, evaluation 1"),
        ("--xla_dump_to=/nowhere", "state 0, step 1, evaluation 1"),
        ("--xla_backend_optimization_level=2", "2 by XLA_FLAGS"),
    ],
)
def test_the_level_is_ours_unless_the_user_has_said_one(monkeypatch, flags: str, level: str) -> None:
    monkeypatch.setenv("XLA_FLAGS", flags)
    monkeypatch.setattr("jax.config.read", lambda name: False)
    assert xla_level() == level
    for program, ours in LEVELS.items():
        given = None if "by XLA_FLAGS" in level else {"xla_backend_optimization_level": ours}
        assert compiler_options(program) == given  # type: ignore[arg-type]


def test_no_level_is_ours_where_jax_was_told_to_optimise_little(monkeypatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr("jax.config.read", lambda name: name == "jax_disable_most_optimizations")
    assert (xla_level(), compiler_options("step")) == (None, None)


def test_the_level_is_in_the_results_and_in_the_key_of_the_cache(tmp_path: Path) -> None:
    environment = {**os.environ, "XLA_FLAGS": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    one, same, other = map(json.loads, ran.stdout.splitlines())
    assert one["xla_level"] == same["xla_level"] == "state 0, step 1, evaluation 1"
    assert other["xla_level"] == "state 0, step 2, evaluation 1"
    assert one["compilations"] > 0
    assert same["compilations"] == 0
    # The step alone.
    assert other["compilations"] == 1
