"""A file of one's own for each kind: each is found by its path, attends, and holds the whole contract of its kind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels import (
    Causal,
    Padding,
    Sizes,
    attend,
    attend_pair,
    init,
    lookup,
    lookup_position,
    pair_init,
    pool,
    pooling_init,
)
from attention_jax.layers.kinds import kind_of
from tests.launch.command_line import ROOT

HERE = Path(__file__).parent
KINDS = {
    "gated_distance": "attention variant",
    "heavy_tailed": "attention variant",
    "two_scales": "attention variant",
    "fatigue": "attention variant",
    "loudest": "pooling",
    "log_distance": "position encoding",
    "each_other": "pair",
}
KEY = jax.random.key(0)
LENGTHS = Padding(np.array([6, 3]))


def spec_of(name):
    return f"{HERE / name}.py:{name}"


def heads(seed):
    return jax.random.normal(jax.random.key(seed), (2, 6, 2, 8))


def attended(name):
    """What two sequences of 6 tokens come to, of which 6 and 3 are real."""
    spec, kind = spec_of(name), KINDS[name]
    tokens = jax.random.normal(KEY, (2, 6, 8))
    if kind == "pooling":
        return pool(tokens, pooling=spec, params=pooling_init(spec, KEY, 8), mask=LENGTHS).out
    if kind == "pair":
        given = {"pair": spec, "params": pair_init(spec, KEY, 8), "first_mask": LENGTHS}
        return attend_pair(tokens, tokens[:, ::-1], **given).first
    position = spec if kind == "position encoding" else None
    variant = "scaled_dot" if position else spec
    trained, drawn = init(variant, KEY, Sizes(2, 2, 8, 8, 8), position_encoding=position)
    per_token = {name: jnp.ones((2, 6, 2)) for name in lookup(variant).mechanism.per_token}
    given = {"variant": variant, "params": trained | drawn, "per_token": per_token, "position_encoding": position}
    return attend(heads(0), heads(1), heads(2), mask=Causal() & LENGTHS, **given).out


@pytest.mark.parametrize("name", KINDS)
def test_it_is_found_by_its_path_and_attends(name):
    assert kind_of(spec_of(name)).name == KINDS[name]
    out = attended(name)
    assert out.dtype == jnp.float32
    assert np.isfinite(out).all()
    assert np.abs(out).max() > 0.1


def test_every_file_is_short_and_has_its_test():
    files = {path.stem: path for path in HERE.glob("*.py") if not path.stem.startswith(("test_", "__"))}
    # A model with its data and its task, which tests/launch/test_train.py trains.
    assert len(files.pop("point_clouds").read_text().splitlines()) < 80
    assert files.keys() == KINDS.keys()
    assert all(len(path.read_text().splitlines()) < 60 for path in files.values())
    assert lookup_position(spec_of("log_distance")).claims.relative


@pytest.mark.wide
@pytest.mark.parametrize("name", KINDS)
def test_it_holds_the_contract_from_an_empty_folder(name, tmp_path):
    shutil.copy(HERE / f"{name}.py", tmp_path / "mine.py")
    checked = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), "check", f"mine.py:{name}"],
        cwd=tmp_path,
        env={**os.environ, "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "FAILED" not in checked.stdout
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["mine.py"]
