"""Thirty trials of TPE find what a grid of thirty points finds: a learning rate and a width for the digits."""

import json
import statistics

import pytest

from attention_jax.study.statistics.intervals import quantile
from tests.launch.command_line import launch, write_config

TRIALS, SAMPLER_SEEDS, FRESH = 30, 5, 8
# In points of accuracy: at the lower end of the interval TPE may be so much worse.
MOST_WORSE = 1.0
DIGITS = {
    "data": {"name": "digits", "form": "image"},
    "task": {"name": "classification"},
    "model": {"name": "vit", "patch": (1, 8), "num_layers": 2, "num_heads": 2, "width": 32},
    "optimizer": {"name": "adamw", "schedule": {"name": "warmup_cosine", "warmup_steps": 20}},
    "batch_size": 64,
    "steps": 150,
    "evaluation": {"every": 150, "batch_size": 180},
    "checkpoint": {"every": 0},
    "log": {"every": 50, "tensorboard": False},
}
LOWEST, HIGHEST, WIDTHS = 3e-5, 0.1, (16, 32)
RATES = [LOWEST * (HIGHEST / LOWEST) ** (place / 14) for place in range(15)]
SPACES = {
    "tpe": f"optimizer.learning_rate=log({LOWEST},{HIGHEST}) model.width=[16,32]",
    "grid": f"optimizer.learning_rate=[{','.join(map(str, RATES))}] model.width=[16,32]",
}


def best_on_fresh_seeds(workdir, sampler, *, seed, config):
    """Returns the mean accuracy, in points, of the best of a sweep on seeds that the search did not use."""
    options = (f"--sampler={sampler}", f"--seed={seed}", f"--trials={TRIALS}", f"--fresh_seeds={FRESH}", "--best=1")
    # The seed of the model is that of the sampler too: the grid of another seed is another grid search.
    answer = launch(
        "sweep", config, f"--space={SPACES[sampler]}", *options, f"--config.seed={100 * seed}", f"--workdir={workdir}",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    report = json.loads((workdir / "report.json").read_text())
    assert len(report["trials"]) == TRIALS
    (best,) = report["best"]
    assert len(best["values"]) == FRESH
    return 100 * statistics.fmean(best["values"].values())


@pytest.mark.long
def test_tpe_is_no_point_worse_than_a_grid(tmp_path):
    config = write_config(tmp_path / "digits.py", DIGITS)
    differences = []
    for seed in range(SAMPLER_SEEDS):
        found = {
            sampler: best_on_fresh_seeds(tmp_path / f"{sampler}{seed}", sampler, seed=seed, config=config)
            for sampler in SPACES
        }
        print(f"seed {seed}: TPE {found['tpe']:.2f}, grid {found['grid']:.2f}")
        differences.append(found["tpe"] - found["grid"])
    mean, spread = statistics.fmean(differences), statistics.stdev(differences)
    half = quantile(SAMPLER_SEEDS) * spread / SAMPLER_SEEDS**0.5
    print(f"TPE - grid: {mean:+.2f} points, 95% interval {mean - half:+.2f} to {mean + half:+.2f}")
    assert mean - half > -MOST_WORSE
