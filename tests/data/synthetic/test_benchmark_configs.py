"""The comparisons on generated benchmarks that are shipped: every part of them fits."""

import numpy as np
import pytest

from attention_jax import data, models, tasks
from attention_jax.kernels import lookup
from attention_jax.training import config

CONFIGS = {
    "recall": ["mqar", "compositional", "forgetting", "stacked", "by_distance"],
    "state_tracking": ["parity", "s3", "flip_flop"],
}


@pytest.mark.parametrize(("name", "benchmark"), [(name, part) for name, parts in CONFIGS.items() for part in parts])
def test_a_benchmark_of_a_comparison_fits(name, benchmark):
    comparison = config.plain(config.load(f"experiments/benchmarks/{name}.py", {}))
    assert comparison["benchmarks"].keys() == {*CONFIGS[name]}
    assert all(lookup(spec).claims.causal for spec in comparison["variants"])
    sections = comparison["benchmarks"][benchmark]
    sizes = {"train_examples": 64, "validation_examples": 8, "test_examples": 8}
    dataset = data.build(**{**sections["data"], **sizes})
    model = models.build(**sections["model"], facts=dataset.facts)
    task = tasks.build(**sections["task"])
    for source in dataset.splits.values():
        task.check(model, source.gather(np.arange(1)))
