"""A stand-in for training: steps that add up, a checkpoint, and on demand a fault. Run by workers as "trainer"."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any


def train(config: dict[str, Any], folder: Path, reporter: Any) -> dict[str, Any]:
    """Takes `steps` steps of `seconds` each, a checkpoint every `every`; leaves a line for each step in steps.txt.

    `fault` and `at`: what happens when that step is to be taken: "raise", "refuse", "hang" (as often as it comes to
    it), "hang once", "die" (the process is killed as often as it comes to it) or "die once".
    """
    every, steps = config.get("every", 20), config.get("steps", 100)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.json"
    step = json.loads(checkpoint.read_text()) if checkpoint.exists() else 0
    with (folder / "steps.txt").open("a") as log:
        while step < steps:
            reporter.alive(step)
            if step == config.get("at"):
                _fault(config["fault"], folder)
            time.sleep(config.get("seconds", 0.0))
            step += 1
            print(step, file=log, flush=True)
            reporter.update(step=step, steps=steps, rate=100.0, values={})
            if step % every == 0:
                # Not by what training has for it, whose import takes longer than all of this.
                checkpoint.with_suffix(".partial").write_text(json.dumps(step))
                checkpoint.with_suffix(".partial").replace(checkpoint)
                reporter.measured(step, {"validation_loss": config["seed"] + 1 / step})
    return {"metric": "test_loss", "score": config["seed"] / 4, "steps": step, "ms_per_step": 0.1}


def _fault(fault: str, folder: Path) -> None:
    mark = folder / "once"
    if fault.endswith("once"):
        if mark.exists():
            return
        mark.touch()
    if fault == "raise":
        raise ValueError("a bug of the variant's")
    if fault == "refuse":
        from attention_jax.kernels.errors import Refused

        raise Refused("the variant cannot: use another.")
    if fault.startswith("hang"):
        time.sleep(3600)
    if fault.startswith("die"):
        os.kill(os.getpid(), signal.SIGKILL)
