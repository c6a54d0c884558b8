"""Numbers of published packages against the variants that compute the same: packages/ makes them, files/ keeps them."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.cli.mask_syntax import Tokens, parse_mask
from attention_jax.contract.cases import error
from attention_jax.kernels import Padding, attend
from attention_jax.kernels.mask_algebra import conjunction

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE / "files").glob("*.npz"))
DOCUMENTED = (HERE.parent.parent / "docs" / "variants.md").read_text()
# What VARIANTS of the field ask of a third party's numbers: both sides round in float32, one way or the other.
TOLERANCE = 1e-5


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns what a file says of itself, and its arrays."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(str(arrays.pop("said"))), arrays


def below(arrays: dict[str, np.ndarray], folder: str) -> dict[str, jax.Array]:
    """Returns the arrays whose names begin with "FOLDER/", by the rest."""
    names = [name for name in arrays if name.startswith(f"{folder}/")]
    return {name.partition("/")[2]: jnp.asarray(arrays[name]) for name in names}


def mask_of(said: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """Returns the mask of a case."""
    batch, queries = arrays["query"].shape[:2]
    mask = parse_mask(said["mask"])(Tokens(batch, queries, arrays["key"].shape[1])) if said["mask"] else None
    return conjunction(mask, Padding(arrays["real"]) if "real" in arrays else None)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_variant_gives_what_the_package_gives(path):
    said, arrays = read(path)
    of_tokens = {name: jnp.asarray(arrays[name]) for name in ("query", "key", "value")}
    everything = {**of_tokens, "params": below(arrays, "params"), "per_token": below(arrays, "per_token")}
    words = {name: said[name] for name in ("variant", "position_encoding", "grid")}
    words["outputs"] = ("out", "state") if "state" in arrays else ("out",)

    def attended(given):
        per_token = given["per_token"]
        three = (given[name] for name in ("query", "key", "value"))
        result = attend(*three, params=given["params"], per_token=per_token, mask=mask_of(said, arrays), **words)
        rows = arrays.get("rows", np.ones((1, 1), bool))
        return result.out * rows[..., None, None], result.state

    found, pullback, state = jax.vjp(jax.jit(attended), everything, has_aux=True)
    found_gradients = pullback(jnp.asarray(arrays["weighing"]))[0]
    flat = {"/".join(part.key for part in at): one for at, one in jax.tree.leaves_with_path(found_gradients)}
    errors = {"out": error(found, arrays["out"])}
    if "state" in arrays:
        errors["state"] = error(state.total, arrays["state"])
    errors |= {name: error(flat[name], wanted) for name, wanted in below(arrays, "gradients").items()}
    what = f"{said['function']} of {said['package']} and {said['variant']}"
    if said["differs"]:
        assert errors["out"] > 100 * TOLERANCE, f"{what} do not differ: {said['differs']}"
        assert said["differs"] in DOCUMENTED, f"docs/variants.md does not say that {what} differ"
    else:
        assert max(errors.values()) < TOLERANCE, f"{what}: {errors}"
