"""What a user types to train one run of a comparison again, alone."""

import shlex
from pathlib import Path

from attention_jax.study.plan import Trial, run_folder

# The options of a comparison that say what is run, where and by whom, which a run alone has its own of.
_CHOICES = (
    *("--benchmarks", "--variants", "--seeds", "--workdir"),
    *("--workers", "--retry", "--storage", "--launcher", "--job"),
)
ALONE = "alone"


def cell_command(command: str, trial: Trial, *, entry: str, seed: int, workdir: Path) -> str:
    """Returns the command that trains one run, by one worker in a folder of its own, to the same score.

    Args:
      command: of the whole comparison; its other options stay.
      trial: the run.
      entry: of its variant, as `--variants` takes it.
      seed: what it trains with: another than its number in a study of a variant against itself.
      workdir: the folder of the whole comparison; the run's is in it.
    """
    own = {
        "--benchmarks": trial.benchmark,
        "--variants": entry,
        "--seeds": str(seed),
        "--workers": "1",
        "--workdir": str(run_folder(workdir / ALONE, trial)),
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
