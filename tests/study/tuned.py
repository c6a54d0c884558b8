"""A stand-in for training whose score depends on what is tuned, and a comparison of it."""

import math
from pathlib import Path
from typing import Any

from attention_jax.base.errors import Refused
from attention_jax.study.comparison.plan import Plan
from attention_jax.study.comparison.tuning import LEARNING_RATE
from attention_jax.study.comparison.tuning_plan import Tuning
from attention_jax.study.search.domains import Choice, Range
from attention_jax.study.search.space import Space

# The learning rate that suits each variant.
SUITS = {"scaled_dot": 1e-2, "linear": 1e-3, "uniform": 1e-3}
DIVERGES_FROM = 1.0


def train(config: dict[str, Any], folder: Path, reporter: Any) -> dict[str, Any]:
    """Leaves a line for each training; the loss is least at the rate that suits, and higher with each seed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "trained.txt").open("a") as log:
        log.write("once\n")
    rate, variant = config["optimizer"]["learning_rate"], config["model"]["attention"]
    if rate >= DIVERGES_FROM:
        raise ValueError("the loss is nan")
    if config["refuses"] == variant:
        raise Refused(f"{variant} cannot do this: use another.")
    score = 1 + abs(math.log10(rate / SUITS[variant])) + config["seed"] % 7 / 100
    return {"metric": "validation_loss", "score": score, "steps": config["steps"], "ms_per_step": 0.1}


def config_of(benchmark: str, label: str, seed: int, point: Any = None) -> dict[str, Any]:
    """Returns the config of a run, as `Variation.config_of` does."""
    rate = dict(point or {}).get(LEARNING_RATE, 1e-4)
    if rate == "refused":
        raise Refused("refused is no learning rate: give a number.")
    return {
        "trainer": "tests.study.tuned:train",
        "model": {"attention": label},
        "optimizer": {"learning_rate": rate},
        "steps": len(benchmark),
        "refuses": "uniform" if benchmark == "copy" else None,
        "seed": seed,
    }


def make_plan(*, variants: tuple[str, ...] = ("scaled_dot", "linear"), seeds: tuple[int, ...] = (0, 1, 2)) -> Plan:
    """Returns two benchmarks with the variants."""
    return Plan(("listops", "copy"), variants, seeds)


def make_tuning(plan: Plan, *rates: float | str, trials: int | None = None, sampler: str = "grid") -> Tuning:
    """Returns the same budget for each: a grid of rates, or trials drawn from a range that has its ends in them."""
    domain = Choice(rates) if sampler == "grid" else Range(1e-4, 1e-1, log=True)
    pairs = [(benchmark, variant) for benchmark in plan.benchmarks for variant in plan.variants]
    return Tuning(
        spaces={pair: Space({LEARNING_RATE: domain}) for pair in pairs},
        rising=dict.fromkeys(plan.benchmarks, False),
        sampler=sampler,
        seed=0,
        trials=trials or len(rates),
        keys=(LEARNING_RATE,),
    )
