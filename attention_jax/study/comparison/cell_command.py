"""What a user types to train one run of a comparison again, alone."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attention_jax.study.comparison.plan import Trial, run_folder

# The options of a comparison that say what is run, where and by whom, which a run alone has its own of.
_CHOICES = (
    *("--benchmarks", "--variants", "--vary", "--seeds", "--workdir", "--tune", "--trials", "--sampler"),
    *("--workers", "--retry", "--storage", "--launcher", "--job"),
)
ALONE = "alone"


def cell_command(
    command: str, trial: Trial, *, vary: str, entry: str, seed: int, keys: Mapping[str, Any], workdir: Path
) -> str:
    """Returns the command that trains one run, by one worker in a folder of its own, to the same score.

    Args:
      command: of the whole comparison; its other options stay.
      trial: the run.
      vary: what varies, as `--vary` takes it.
      entry: of its variant, as `--variants` takes it.
      seed: what it trains with: another than its number in a study of a variant against itself.
      keys: of the config that were tuned, with the values that were chosen.
      workdir: the folder of the whole comparison; the run's is in it.
    """
    own = {
        "--benchmarks": trial.benchmark,
        "--vary": vary,
        "--variants": entry,
        "--seeds": str(seed),
        "--workers": "1",
        "--workdir": str(run_folder(workdir / ALONE, trial)),
        **({"--tune": ""} if keys else {}),
        **{f"--config.{key}": str(value) for key, value in keys.items()},
    }
    return shlex.join([*_without_choices(shlex.split(command)), *(f"{name}={value}" for name, value in own.items())])


def _without_choices(words: list[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word.partition("=")[0] in _CHOICES:
            skip = "=" not in word
        else:
            kept.append(word)
    return kept
