"""Run by test_parallel.py in an interpreter of its own with eight devices: prints, as JSON, how cases differ.

Each case that the command line names is solved by one device and by eight, forward and backward, with the arrays spread
over the tokens on the way in and out, so that the only collectives in the program are the method's own.
"""

import functools
import json
import re
import sys
from dataclasses import dataclass, replace
from typing import Any

import jax

jax.config.update("jax_num_cpu_devices", 8)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.sharding import NamedSharding, PartitionSpec  # noqa: E402

from attention_jax.contract.cases import Inputs, error, make  # noqa: E402
from attention_jax.kernels import Sizes, attend, attend_sharded, init, lookup, zigzag  # noqa: E402
from attention_jax.kernels.engines import blockwise, recurrence  # noqa: E402
from tests.kernels.sharded_cases import BATCH, CASES, Case  # noqa: E402

COLLECTIVES = ("collective-permute", "all-gather", "all-to-all", "reduce-scatter", "all-reduce")


@dataclass(frozen=True)
class Solver:
    """How a case is solved: forward and backward, by one device or by all.

    Attributes:
      case: the case.
      sharded: whether by all.
    """

    case: Case
    sharded: bool

    def __call__(self, inputs: Inputs, table: Any, weighing: Any) -> Any:
        """(out, lse, the gradients of both weighed)."""
        with_lse = lookup(self.case.spec).claims.lse

        def weighed(inputs, table):
            out, lse = self._solved(inputs, table, with_lse)
            total = (out.astype(jnp.float32) * weighing).sum()
            if with_lse:
                total = total + jnp.where(jnp.isfinite(lse), jnp.sin(lse), 0).sum()
            return total, (out, lse)

        gradients, results = jax.grad(weighed, argnums=(0, 1), has_aux=True)(inputs, table)
        return {"results": results, "gradients": gradients}

    def _solved(self, inputs: Inputs, table: Any, with_lse: bool) -> Any:
        def modified(score, batch, head, query, key):
            return 1.25 * score + table[head, (query - 3 * key + batch) % 32]

        arguments = dict(self.case.more)
        if isinstance(arguments.get("positions"), str):
            every = jnp.arange(self.case.keys)[None]
            arguments["positions"] = (every[:, -self.case.queries :], every)
        how = {}
        if self.sharded:
            batches = "sequences" if self.case.mesh[0] > 1 else None
            how = {"method": self.case.method, "order": self.case.order, "batch_axis": batches}
            how |= {"mesh": mesh_of(self.case), "axis": "tokens"}
        result = (attend_sharded if self.sharded else attend)(
            *inputs[:3],
            variant=self.case.spec,
            params=inputs.params,
            per_token=inputs.per_token,
            score_mod=modified if self.case.score_mod else None,
            outputs=("out", "lse") if with_lse else ("out",),
            **how,
            **arguments,
        )
        return result.out, result.lse if with_lse else None


@functools.cache
def mesh_of(case: Case) -> Any:
    """The devices of a case."""
    axes = {name: size for name, size in zip(("sequences", "tokens"), case.mesh, strict=True) if size > 1}
    return jax.make_mesh(tuple(axes.values()), tuple(axes), axis_types=(jax.sharding.AxisType.Auto,) * len(axes))


def shardings(case: Case, inputs: Inputs) -> tuple[Any, Any]:
    """How the arguments and the results of a solver are spread."""
    mesh = mesh_of(case)
    batch = "sequences" if case.mesh[0] > 1 else None
    tokens, rows, whole = (
        NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((batch, "tokens"), (batch, None, "tokens"), ())
    )
    per_token = dict.fromkeys(inputs.per_token, tokens)
    of_inputs = Inputs(tokens, tokens, tokens, dict.fromkeys(inputs.params, whole), per_token)
    lse = rows if lookup(case.spec).claims.lse else None
    return (of_inputs, whole, tokens), {"results": (tokens, lse), "gradients": (of_inputs, whole)}


def measure(case: Case) -> dict[str, Any]:
    """How far all devices are from one, and which collectives they use, by what these carry."""
    inputs = make(
        case.spec,
        batch=BATCH,
        queries=case.queries,
        keys=case.keys,
        heads=case.heads[0],
        kv_heads=case.heads[1],
        dtype=case.dtype,
    )
    encoding = case.more.get("position_encoding")
    if encoding is not None:
        sizes = Sizes(*case.heads, inputs.query.shape[-1], inputs.key.shape[-1], inputs.value.shape[-1])
        inputs = inputs._replace(params=init(case.spec, jax.random.key(0), sizes, encoding)[0])
    rng = np.random.default_rng(1)
    table = jnp.asarray(rng.normal(size=(case.heads[0], 32)), jnp.float32)
    weighing = rng.integers(-8, 9, size=(*inputs.query.shape[:3], inputs.value.shape[-1])).astype(np.float32) / 8
    if case.poisoned is not None:
        token, end = case.poisoned
        inputs = inputs._replace(key=inputs.key.at[:, token].set(jnp.nan))
        weighing[:, token:end] = 0
    one = jax.jit(Solver(case, False))(inputs, table, weighing)

    order = zigzag(case.keys, case.mesh[1]) if case.order == "zigzag" else np.arange(case.keys)
    there, back = (order, np.argsort(order)) if case.queries == case.keys else (slice(None),) * 2
    of_arguments, of_results = shardings(case, inputs)
    spread = jax.jit(Solver(case, True), in_shardings=of_arguments, out_shardings=of_results)
    given = (inputs.with_tokens(lambda array: array[:, there]), table, weighing[:, there])
    compiled = spread.lower(*given).compile()
    all_devices = compiled(*given)
    (out, lse), (of_inputs, of_table) = all_devices["results"], all_devices["gradients"]
    in_order = {
        "results": (np.asarray(out)[:, back], None if lse is None else np.asarray(lse)[..., back]),
        "gradients": (of_inputs.with_tokens(lambda array: np.asarray(array)[:, back]), of_table),
    }
    told = {"collectives": collectives(compiled.as_text())}
    if case.by_rule:
        exact = in_float64(case, inputs, table, weighing)
        return told | {"ours": differences(in_order, exact), "one": differences(one, exact)}
    return told | {"ours": differences(in_order, one)}


def in_float64(case: Case, inputs: Inputs, table: Any, weighing: Any) -> Any:
    """What one device computes in float64."""
    with jax.enable_x64(True):
        doubled = jax.tree.map(lambda array: np.asarray(array, np.float64), (inputs, table, weighing))
        return jax.tree.map(np.asarray, jax.jit(Solver(replace(case, dtype=np.float64), False))(*doubled))


def differences(ours: Any, theirs: Any) -> dict[str, float]:
    """The error of each array; one that is NaN or infinite at other places has an infinite error."""
    told = {}
    pairs = zip(*(jax.tree_util.tree_flatten_with_path(tree)[0] for tree in (ours, theirs)), strict=True)
    for (path, left), (_, right) in pairs:
        left, right = (np.asarray(array, np.float64) for array in (left, right))
        finite = np.isfinite(right)
        same = np.array_equal(left[~finite], right[~finite], equal_nan=True) and np.isfinite(left[finite]).all()
        told[jax.tree_util.keystr(path)] = error(left[finite], right[finite]) if same else float("inf")
    return told


def collectives(program: str) -> dict[str, list[str]]:
    """The arrays that each kind of collective in a compiled program carries, such as "f32[2,8]"."""
    found = {}
    for name in COLLECTIVES:
        results = re.findall(rf"= (\S.*?) {name}(?:-start)?\(", program)
        found[name] = sorted({array for result in results for array in re.findall(r"\w+\[[\d,]*\]", result)})
    return found


def main() -> None:
    """Prints the measures of the cases that the command line names."""
    blockwise.QUERY_TILE, blockwise.KEY_TILE, recurrence.CHUNK = 16, 3, 2
    assert jax.device_count() == 8
    print(json.dumps({name: measure(CASES[name]) for name in sys.argv[1:]}))


if __name__ == "__main__":
    main()
