"""What a study says of the cache of compiled programs: hits, and entries that are there and cannot be loaded."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from attention_jax.study.engine.cells import Cell, ListSource, Result
from attention_jax.study.engine.compiler import Compiler
from attention_jax.study.engine.desk import Desk
from attention_jax.study.engine.display import Lines
from attention_jax.study.engine.store import Store, storage_url
from attention_jax.study.report.provenance import compiled


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    """The folder of a cache that keeps everything."""
    options = {
        "jax_compilation_cache_dir": str(tmp_path / "compiled"),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield tmp_path / "compiled"
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def compile_one() -> None:
    jax.jit(lambda x: 3 * x + 1).lower(jnp.zeros(3)).compile()


# The warning is what is counted; that it is shown too is for the log.
@pytest.mark.filterwarnings("ignore:Error reading persistent")
def test_an_entry_that_cannot_be_loaded_is_counted_each_time(cache: Path) -> None:
    jnp.zeros(3)
    compiler = Compiler()

    def counted(action: Callable[[], None]) -> Counter[str]:
        before = compiler.counts
        action()
        return Counter({name: count - before[name] for name, count in compiler.counts.items()})

    assert counted(compile_one) == {"compilations": 1, "cache_hits": 0, "cache_refused": 0}
    assert counted(compile_one) == {"compilations": 0, "cache_hits": 1, "cache_refused": 0}
    for entry in cache.glob("*-cache"):
        entry.write_bytes(entry.read_bytes()[:100])
    for _ in range(2):
        assert counted(compile_one) == {"compilations": 1, "cache_hits": 0, "cache_refused": 1}


def test_a_study_says_once_that_its_cache_refuses_entries(tmp_path: Path) -> None:
    said: list[str] = []
    cells = [Cell(str(seed), {"seed": seed}) for seed in range(3)]
    desk = Desk(ListSource(cells), Store(storage_url(tmp_path, None)), tmp_path, Lines(said.append), workers=1)
    desk.open(tries=False)
    for refused in (0, 2, 3):
        cell = desk.next((), (), busy=False)
        assert cell is not None
        outcome = {"metric": "test_loss", "score": 0.5}
        facts = {"compilations": 4, "cache_hits": 0, "cache_refused": refused}
        desk.finish(cell, Result("done", None, outcome, facts), seconds=1.0)
    assert len([line for line in said if "cannot be loaded here" in line]) == 1


def test_the_line_of_a_comparison_has_what_the_cache_refused(result) -> None:
    results = [result("linear", seed, 0.5) for seed in range(2)]
    assert "could not" not in compiled(results)
    facts = {"compilations": 4, "cache_hits": 1, "cache_refused": 2}
    for one in results:
        for name, value in facts.items():
            object.__setattr__(one, name, value)
    said = "XLA compiled 8 programs for these runs and loaded 2 from the cache; 4 that are in the cache could not be"
    assert compiled(results).startswith(said)
