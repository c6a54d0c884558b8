"""What one process does with cells of one program: it compiles for the first, and each is as it is alone."""

import json
from pathlib import Path
from typing import Any

from attention_jax.study.engine.cells import Cell
from attention_jax.study.engine.mesh import placed
from attention_jax.study.engine.session import Session
from attention_jax.training import Experiment
from tests.training import tiny


def config(**changed: Any) -> dict[str, Any]:
    """Returns the config of a cell, as the store gives it: JSON, on one device."""
    schedule = {"name": "warmup_linear", "warmup_steps": 3}
    optimizer = {"weight_decay": 0.1, "schedule": schedule, "learning_rate": changed.pop("learning_rate", 0.03)}
    return json.loads(json.dumps(tiny.sections(optimizer=optimizer, mesh={"data": 1}, seed=0, **changed)))


def worked(session: Session, folder: Path, whole: dict[str, Any]) -> dict[str, Any]:
    """Returns the event that ends a cell which a session trains in a folder."""
    cell = {"config": whole, "folder": str(folder), "log": str(folder / "log.txt"), "tested": True}
    program = Cell("cell", whole).program
    (done,) = session.work({"do": "train", "cells": [cell], "program": program, "devices": 1, "prunes": False})
    return done


def test_learning_rates_share_one_program_and_leave_what_each_leaves_alone(tmp_path):
    session = Session(lambda event: None, lambda: True)
    compiled, scores = [], set()
    for rate in (0.03, 0.003, 0):
        whole = config(learning_rate=rate)
        done = worked(session, tmp_path / "shared" / str(rate), whole)
        assert (done["status"], done["reason"]) == ("done", None)
        compiled.append(done["facts"]["compilations"] + done["facts"]["cache_hits"])
        tiny.run(Experiment(**placed(whole, 1)), tmp_path / "alone" / str(rate))
        for file in ("config.json", "metrics.jsonl"):
            shared, alone = (tmp_path / where / str(rate) / file for where in ("shared", "alone"))
            assert shared.read_bytes() == alone.read_bytes()
        scores.add(done["outcome"]["score"])
    assert compiled[0] > 0
    assert compiled[1:] == [0, 0]
    assert len(scores) == 3


def test_a_learning_rate_that_cannot_be_is_refused_to_its_cell_alone(tmp_path):
    session = Session(lambda event: None, lambda: True)
    for rate, said in ((-1.0, "optimizer.learning_rate=-1.0: give a number of at least 0."), (0.01, None)):
        done = worked(session, tmp_path / str(rate), config(learning_rate=rate, steps=4))
        assert done["reason"] == said
        assert done["status"] == ("refused" if said else "done")
    assert [path.name for path in (tmp_path / "-1.0").iterdir()] == ["log.txt"]
