"""The contestants that run on JAX: what each computes, compiled, timed and asked for its memory."""

import functools
import importlib.metadata
import resource
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from attention_jax.base.errors import Refused
from attention_jax.base.formatting import memory
from attention_jax.bench.cases import Case, LeftOut, Process, Quantity, arrays, digest, free_bytes, imported
from attention_jax.bench.timing import Ready, seconds, timed
from attention_jax.kernels import Causal, KeyValueCache, Padding, Window, attend, attend_cached
from attention_jax.kernels.engines.triangular import solve_unit_lower
from attention_jax.kernels.mask_algebra import conjunction
from attention_jax.kernels.mechanism import unit
from attention_jax.study.report.environment import environment
from attention_jax.training.parallel.host import use_every_core

Attention = Callable[[Array, Array, Array], Array]
# Packages whose versions a record should name, beside those of the environment.
PEERS = ("tokamax",)
OVER_HEADS = PartitionSpec(None, None, "heads", None)


def start(process: Process) -> dict[str, Any]:
    """Readies JAX for a process and returns its environment."""
    # A program that was compiled before would be read from the disk, and its compile time with it.
    jax.config.update("jax_enable_compilation_cache", False)
    if process == "all_cores":
        use_every_core()
    return {**asdict(environment()), **dict(_versions())}


def _versions() -> Iterator[tuple[str, str]]:
    for package in importlib.metadata.distributions():
        if package.name in PEERS:
            yield package.name, package.version


def ours(case: Case) -> Attention:
    """`attend` of this library."""
    mask = conjunction(
        Causal() if case.causal else None,
        None if case.window is None else Window(case.window),
        Padding(np.array(case.lengths)) if case.padded else None,
    )
    return lambda query, key, value: attend(query, key, value, variant=case.variant, mask=mask, engine=case.engine).out


def jax_nn(case: Case) -> Attention:
    """`jax.nn.dot_product_attention`, its XLA implementation."""
    lengths = np.array(case.lengths) if case.padded else None
    return lambda query, key, value: jax.nn.dot_product_attention(
        query, key, value, is_causal=case.causal, key_value_seq_lengths=lengths, implementation="xla"
    )


def tokamax(case: Case) -> Attention:
    """`tokamax.dot_product_attention`, its chunked XLA implementation (Rabe & Staats 2021, arXiv 2112.05682)."""
    module = imported("tokamax")
    return lambda query, key, value: module.dot_product_attention(
        query, key, value, is_causal=case.causal, implementation="xla_chunked"
    )


def flax_nnx(case: Case) -> Attention:
    """`flax.nnx.dot_product_attention`."""
    module = imported("flax.nnx")
    return lambda query, key, value: module.dot_product_attention(query, key, value, is_causal=case.causal)


def _systems(solve: Callable[[Array, Array], Array], case: Case) -> Attention:
    """The systems of the delta rule in chunks of 64 tokens, (I + L) x = value with L the products of unit keys."""
    if case.tokens % 64:
        raise LeftOut(f"{case.tokens} tokens are no whole chunks of 64")

    def solved(query: Array, key: Array, value: Array) -> Array:
        keys, values = (array.swapaxes(1, 2).reshape(-1, 64, case.width) for array in (unit(key), value))
        products = jnp.einsum("cim,cjm->cij", keys, keys)
        return solve(products, values).reshape(case.batch, case.heads, -1, case.width).swapaxes(1, 2)

    return solved


def delta_rule(case: Case) -> Attention:
    """The systems of the delta rule as the recurrence engine solves them."""
    return _systems(solve_unit_lower, case)


def lapack(case: Case) -> Attention:
    """The same by LAPACK, through `jax.lax.linalg.triangular_solve`."""
    solve = functools.partial(jax.lax.linalg.triangular_solve, left_side=True, lower=True, unit_diagonal=True)
    return _systems(solve, case)


CONTESTANTS: dict[str, Callable[[Case], Attention]] = {
    "attention_jax": ours,
    "jax.nn": jax_nn,
    "tokamax": tokamax,
    "flax.nnx": flax_nnx,
    "delta rule": delta_rule,
    "LAPACK": lapack,
}


def prepare(case: Case) -> Ready:
    """Compiles a case and makes it ready to be sampled.

    Raises:
      LeftOut: a peer is missing, the engine refuses, or there is not the memory to run it.
    """
    try:
        return QUANTITIES[case.quantity](case)
    except Refused as refusal:
        raise LeftOut(f"refused: {refusal}") from refusal


@dataclass(frozen=True)
class Program:
    """What is compiled.

    Attributes:
      call: (query, key, value, gradient of out) -> (out,), or with the gradients of query, key and value.
      shape: of each of them.
      devices: on how many of them it runs.
    """

    call: Callable[..., tuple[Array, ...]]
    shape: jax.ShapeDtypeStruct
    devices: int

    def compiled(self) -> Any:
        """Returns it traced, lowered and compiled anew: JAX knows the function by its identity."""
        return jax.jit(lambda *tokens: self.call(*tokens)).lower(*[self.shape] * 4).compile()


def _program(case: Case) -> Program:
    attention = CONTESTANTS[case.who](case)

    def forward(query: Array, key: Array, value: Array, weighing: Array) -> tuple[Array, ...]:
        return (attention(query, key, value),)

    def with_gradients(query: Array, key: Array, value: Array, weighing: Array) -> tuple[Array, ...]:
        out, pullback = jax.vjp(attention, query, key, value)
        return (out, *pullback(weighing))

    call = with_gradients if case.backward else forward
    shape = (case.batch, case.tokens, case.heads, case.width)
    if case.process != "all_cores":
        return Program(call, jax.ShapeDtypeStruct(shape, jnp.float32), 1)
    if jax.default_backend() != "cpu":
        raise LeftOut(f"JAX computes on a {jax.default_backend()} here, and this is of the cores of a CPU")
    devices = jax.devices()
    count = max(size for size in range(1, len(devices) + 1) if case.heads % size == 0)
    mesh = Mesh(np.array(devices[:count]), ("heads",))
    # Nothing is replicated, so there is no replication to check, and the check does not know every loop.
    call = jax.shard_map(call, mesh=mesh, in_specs=OVER_HEADS, out_specs=OVER_HEADS, check_vma=False)
    return Program(call, jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, OVER_HEADS)), count)


def _bytes(compiled: Any) -> dict[str, int]:
    """Returns what a compiled program needs on each device."""
    needed = compiled.memory_analysis()
    if needed is None:
        raise LeftOut(f"XLA for {jax.default_backend()} does not say what memory a program needs")
    temporary = needed.temp_size_in_bytes
    return {"temporary": temporary, "total": temporary + needed.argument_size_in_bytes + needed.output_size_in_bytes}


def _loaded(case: Case, program: Program, compiled: Any) -> list[Array]:
    needed, free = program.devices * _bytes(compiled)["total"], free_bytes()
    if jax.default_backend() == "cpu" and needed > free:
        raise LeftOut(f"it needs {memory(needed)}, and {memory(free)} are free")
    return [jax.device_put(array, program.shape.sharding) for array in arrays(case)]


def _to_run(case: Case) -> Ready:
    program = _program(case)
    compiled = program.compiled()
    loaded = _loaded(case, program, compiled)
    *tokens, weighing = loaded
    if case.compared > 0:
        # The gradients of the first tokens are theirs alone when nothing after them is weighed.
        weighing = jax.device_put(weighing.at[:, case.compared :].set(0), program.shape.sharding)
    results = [np.asarray(result) for result in compiled(*tokens, weighing)]
    sample = timed(lambda: jax.block_until_ready(compiled(*loaded)))
    return Ready(sample, digest(results, case.compared), {"devices": program.devices})


def _to_step(case: Case) -> Ready:
    """One token after all but the last are in the cache, which is donated and so written in place."""

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(held_key: Array, held_value: Array, length: Array, token: list[Array]) -> tuple[Array, ...]:
        cache, (query, key, value) = KeyValueCache(key=held_key, value=held_value, length=length), token
        result, cache = attend_cached(query, key, value, cache, mask=Causal(), engine=case.engine)
        return result.out, cache.key, cache.value

    tokens = [jnp.asarray(array) for array in arrays(case)[:3]]
    last = [array[:, -1:] for array in tokens]
    length = jnp.full(case.batch, case.tokens - 1, jnp.int32)
    held = [array.at[:, -1].set(0).swapaxes(1, 2) for array in tokens[1:]]
    out, *held = step(*held, length, last)
    result = np.asarray(out)

    def call() -> None:
        # The same slot is written each time.
        _, *held[:] = step(*held, length, last)
        jax.block_until_ready(held)

    return Ready(timed(call), digest([result], case.compared), {"devices": 1})


def _to_compile(case: Case) -> Ready:
    program = _program(case)

    def sample() -> dict[str, Any]:
        jax.clear_caches()
        return {"value": 1e3 * seconds(program.compiled)}

    sample()
    return Ready(sample, about={"devices": program.devices})


def _to_weigh(case: Case) -> Ready:
    program = _program(case)
    needed = _bytes(program.compiled())
    return Ready(lambda: {"value": needed[case.quantity]}, about={"devices": program.devices})


def _to_run_once(case: Case) -> Ready:
    program = _program(case)
    compiled = program.compiled()
    loaded = _loaded(case, program, compiled)

    def sample() -> dict[str, Any]:
        took = seconds(lambda: jax.block_until_ready(compiled(*loaded)))
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"value": peak, "milliseconds": 1e3 * took}

    return Ready(sample, about={"devices": program.devices})


QUANTITIES: dict[Quantity, Callable[[Case], Ready]] = {
    "run": _to_run,
    "step": _to_step,
    "compile": _to_compile,
    "temporary": _to_weigh,
    "total": _to_weigh,
    "peak": _to_run_once,
}
