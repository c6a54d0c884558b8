"""Attention spread over devices, by tokens (ring, all-gather, all-to-all), sequences and heads, by `jax.shard_map`.

Each way wraps an engine and equals it on one device: blockwise for a softmax over scores, recurrence for the linear
family, and any for all-to-all. The mask, positions and dropout go by the index of a token in the whole sequence, so
nothing changes with the number of devices.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Params
from attention_jax.kernels.checks import Arguments, checked
from attention_jax.kernels.composition import Composition
from attention_jax.kernels.engines import blockwise, chain, ring
from attention_jax.kernels.engines.poison import bad_tokens, rows_that_see
from attention_jax.kernels.engines.tiles import Differentiable, NonDifferentiable, Plan
from attention_jax.kernels.engines.tiling import tile_size
from attention_jax.kernels.mask_algebra import Axis, Run, rows
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.problem import AttentionOutput, Problem, Share
from attention_jax.kernels.solve import solve
from attention_jax.kernels.spread import Axes, Method, Order, Spread, check_part, check_problem, check_spread, size


def zigzag(tokens: int, devices: int) -> Int[np.ndarray, " T"]:
    """Returns the order of tokens in which device d holds the d-th and the d-th last of 2n equal runs.

    `array[:, zigzag(T, n)]` puts an array in that order; `argsort` of it takes it back. Under a causal mask every
    device then has the same work.

    Raises:
      Refused: the tokens do not divide into 2n runs.
    """
    if tokens % (2 * devices):
        raise Refused(f"{tokens} tokens do not divide into {2 * devices} runs for {devices} devices: pad them.")
    runs = np.arange(tokens).reshape(2 * devices, -1)
    return np.concatenate([runs[[device, 2 * devices - 1 - device]].ravel() for device in range(devices)])


def attend_sharded(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K J"],
    value: Float[Array, "B S K Hv"],
    *,
    mesh: Mesh | AbstractMesh,
    axis: str | None = None,
    method: Method = "ring",
    order: Order = "contiguous",
    batch_axis: Axes = None,
    head_axis: Axes = None,
    engine: str | None = None,
    outputs: Iterable[str] = ("out",),
    **arguments: Unpack[Arguments],
) -> AttentionOutput:
    """Computes what `attend` computes, each device holding a part of the tokens, sequences or heads.

    - "ring" (Liu et al. 2023): keys go round; memory for one part of the keys. Of a recurrence only the state is handed
      on (Sun et al. 2024, LASP).
    - "all_gather" (Llama 3 report 2024, section 3.3.2): every device gathers all keys; of a recurrence, what each
      device's tokens do to the state (Sun et al. 2025, LASP-2).
    - "all_to_all" (Jacobs et al. 2023, DeepSpeed-Ulysses): tokens are traded for heads; any variant and engine.

    Args:
      query: [B, T, N, H], T a multiple of the devices n.
      key: [B, S, K, J], S a multiple of n.
      value: [B, S, K, Hv].
      mesh: the devices.
      axis: the mesh axis that the tokens are spread over; None leaves sequences whole.
      method: how keys and queries meet, where tokens are spread.
      order: "zigzag" when query, key and value are in the order `zigzag(T, n)` gives. Mask, positions and the order of
        their arrays are always those of the sequence.
      batch_axis: the mesh axis, or axes, that the sequences are spread over, or None.
      head_axis: the mesh axis, or axes, that query heads and key heads are spread over, or None.
      engine: as for `attend`; "ring" and "all_gather" are made of the blockwise engine, or of the recurrence.
      outputs: of "out" and "lse"; [B, N, T] of the latter is spread over its last axis.
      **arguments: as for `attend`.

    Returns:
      An `AttentionOutput` whose arrays are spread as the query is.

    Raises:
      Refused: shapes do not divide among the devices, or the method cannot honour an argument.
    """
    outputs = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    problem = checked(query, key, value, outputs=outputs, **arguments)
    spread = Spread(mesh, axis, method, order, batch_axis, head_axis, engine)
    check_spread(spread)
    check_problem(problem, spread)
    mechanism = problem.variant.mechanism
    if isinstance(mechanism, Composition) and axis is not None and method != "all_to_all":
        # Its parts meet other tokens than their own by the method; what is between them is left to XLA, and goes by
        # where the tokens stand in the sequence, not by their order in the arrays.
        if order == "zigzag":
            held = (jnp.asarray(zigzag(array.shape[1], size(mesh, axis))) for array in (query, key))
            problem = replace(problem, share=Share(*held))

        def of_part(part: Problem) -> AttentionOutput:
            # Tokens other than the caller's lie in the order that their mask and positions go by.
            of_tokens = replace(spread, order=order if part.share else "contiguous")
            check_part(part, of_tokens, whole=problem.variant)
            return _solved(part, spread=of_tokens)

        return mechanism.run(problem, of_part)
    return _solved(problem, spread=spread)


def _solved(problem: Problem, *, spread: Spread) -> AttentionOutput:
    axis, batch_axis, head_axis = spread.axis, spread.batch_axis, spread.head_axis
    (queries, keys), devices = (problem.query.shape[1], problem.key.shape[1]), size(spread.mesh, axis)
    layout = _Layout(
        ring=ring.Ring(axis or "", devices),
        queries=_held(queries, devices, spread.order),
        keys=_held(keys, devices, spread.order),
        runs=_held(devices * (2 if spread.order == "zigzag" else 1), devices, spread.order),
        batch_axis=batch_axis,
        head_axis=head_axis,
        heads_over=size(spread.mesh, head_axis),
        engine=spread.engine,
    )
    of_device = _solver(problem, spread.method) if axis else _whole
    of_tokens, of_lse = PartitionSpec(batch_axis, axis, head_axis), PartitionSpec(batch_axis, head_axis, axis)
    of_arrays = {name: of_tokens for name in ("query", "key", "value")} | {
        "per_token": {
            name: of_tokens if one.by_head else PartitionSpec(batch_axis, axis)
            for name, one in problem.variant.mechanism.per_token.items()
        }
    }
    out, lse = jax.shard_map(
        lambda tokens, shared: of_device(layout, _local(layout, problem, tokens, shared)),
        mesh=spread.mesh,
        in_specs=(of_arrays, PartitionSpec()),
        out_specs=(of_tokens, of_lse),
        check_vma=False,
    )(*_arrays(problem))
    return AttentionOutput(out=out.astype(problem.query.dtype), lse=lse if "lse" in problem.outputs else None)


@dataclass(frozen=True)
class _Layout:
    """The devices, and the index of each token, and of each run of tokens, that each of them holds, [n, ...]."""

    ring: ring.Ring
    queries: Int[np.ndarray, "n t"]
    keys: Int[np.ndarray, "n s"]
    runs: Int[np.ndarray, "n r"]
    batch_axis: Axes
    head_axis: Axes
    heads_over: int
    engine: str | None

    @property
    def me(self) -> Int[Array, ""]:
        """The number of this device on the axis of the tokens."""
        return jnp.asarray(0) if self.ring.size == 1 else jax.lax.axis_index(self.ring.axis)


def _held(tokens: int, devices: int, order: Order) -> Int[np.ndarray, "n t"]:
    return (np.arange(tokens) if order == "contiguous" else zigzag(tokens, devices)).reshape(devices, -1)


def _arrays(problem: Problem) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of a problem: those spread over the devices, and those that each has whole."""
    tokens = {"query": problem.query, "key": problem.key, "value": problem.value, "per_token": problem.per_token}
    shared = ("params", "mask", "captures", "positions", "rng")
    return tokens, {name: getattr(problem, name) for name in shared}


def _local(layout: _Layout, problem: Problem, tokens: dict[str, Any], shared: dict[str, Any]) -> Problem:
    """What one device holds of a problem."""
    batch, _, heads, _ = tokens["query"].shape
    sequence = _first_sequence(layout, batch)
    head_group = jax.lax.axis_index(layout.head_axis) if layout.head_axis else jnp.asarray(0)
    mask, positions = shared["mask"], shared["positions"]
    whole, my_heads = Run(sequence, batch), Run(head_group * heads, heads)
    if positions is not None:
        shared["positions"] = tuple(rows(position, whole) for position in positions)
    shared["mask"] = None if mask is None else mask.of(whole, my_heads)
    shared["params"] = _of_heads(replace(problem, params=shared["params"]), layout.heads_over, head_group)
    share = Share(jnp.asarray(layout.queries)[layout.me], jnp.asarray(layout.keys)[layout.me], sequence, my_heads.first)
    return replace(problem, **tokens, **shared, share=share)


def _first_sequence(layout: _Layout, held: int) -> Array | int:
    return jax.lax.axis_index(layout.batch_axis) * held if layout.batch_axis else 0


def _pieces(layout: _Layout, problem: Problem) -> tuple[Plan, Differentiable, NonDifferentiable, Axis]:
    """The blockwise engine's view of what a device holds, NaN rows counted over all keys, and the axis of all keys."""
    plan, tensors, fixed = blockwise.pieces(problem, blockwise.large_tiles(problem))
    index = jnp.asarray(layout.keys.ravel())
    position = index[None] if problem.positions is None else problem.positions[1][:, index]
    key = Axis(index, position)
    bad_query, bad_key = bad_tokens(problem)
    poisoned = rows_that_see(bad_query, _gathered(layout, bad_key), problem.mask, problem.query_axis, key)
    return plan, blockwise.reverse_mode(tensors), fixed._replace(poisoned=poisoned), key


def _gathered(layout: _Layout, array: Array) -> Array:
    return jax.lax.all_gather(array, layout.ring.axis, axis=1, tiled=True)


def _by_ring(layout: _Layout, problem: Problem) -> tuple[Array, Array]:
    plan, tensors, fixed, key = _pieces(layout, problem)
    return ring.attention(layout.ring, plan, tensors, fixed, Axis(jnp.asarray(layout.keys), key.position))


def _by_all_gather(layout: _Layout, problem: Problem) -> tuple[Array, Array]:
    plan, tensors, fixed, key = _pieces(layout, problem)
    gathered = tensors._replace(key=_gathered(layout, tensors.key), value=_gathered(layout, tensors.value))
    sizes = replace(plan.sizes, key=tile_size(key.index.shape[0], blockwise.largest(blockwise.KEY_TILE)))
    return blockwise.attention(replace(plan, sizes=sizes), gathered, fixed._replace(key=key))


def _by_states(exchange: chain.Exchange, layout: _Layout, problem: Problem) -> tuple[Array, Array]:
    return _with_lse(AttentionOutput(out=chain.attention(layout.ring, layout.runs, problem, exchange)))


def _by_all_to_all(layout: _Layout, problem: Problem) -> tuple[Array, Array]:
    devices = layout.ring.size
    swap = partial(jax.lax.all_to_all, axis_name=layout.ring.axis, tiled=True)
    to_heads = partial(swap, split_axis=2, concat_axis=1)
    heads = problem.query.shape[2] // devices
    run = Run(layout.me * heads, heads)
    batch = Run(0, problem.query.shape[0])
    traded = replace(
        problem,
        query=to_heads(problem.query),
        key=to_heads(problem.key),
        value=to_heads(problem.value),
        per_token={
            name: to_heads(array) if problem.variant.mechanism.per_token[name].by_head else _gathered(layout, array)
            for name, array in problem.per_token.items()
        },
        params=_of_heads(problem, devices, layout.me),
        mask=None if problem.mask is None else problem.mask.of(batch, run),
        share=Share(
            jnp.arange(layout.queries.size),
            jnp.arange(layout.keys.size),
            _first_sequence(layout, batch.count),
            problem.origin[1] + run.first,
        ),
    )
    out, lse = _whole(layout, traded)
    return swap(out, split_axis=1, concat_axis=2), swap(lse, split_axis=2, concat_axis=1)


def _whole(layout: _Layout, problem: Problem) -> tuple[Array, Array]:
    return _with_lse(solve(problem, layout.engine))


def _with_lse(result: AttentionOutput) -> tuple[Array, Array]:
    # The devices return one tree whatever is asked for; what was not is dropped behind them.
    return result.out, jnp.zeros(result.out.shape[:3]).swapaxes(1, 2) if result.lse is None else result.lse


Part = Callable[[_Layout, Problem], tuple[Array, Array]]
# How each method solves a softmax over scores, and how a recurrence.
_METHODS: dict[str, tuple[Part, Part]] = {
    "ring": (_by_ring, partial(_by_states, chain.pass_states)),
    "all_gather": (_by_all_gather, partial(_by_states, chain.gather_states)),
    "all_to_all": (_by_all_to_all, _by_all_to_all),
}


def _solver(problem: Problem, method: Method) -> Part:
    of_softmax, of_states = _METHODS[method]
    return of_softmax if isinstance(problem.variant.mechanism, SoftmaxScore) else of_states


def _of_heads(problem: Problem, devices: int, me: Int[Array, ""]) -> Params:
    """The variant's arrays for one device's heads."""
    params = dict(problem.params)
    for name, array in params.items():
        for dimension, letter in enumerate(problem.variant.mechanism.arrays[name].axes):
            if letter in ("N", "K"):
                size = array.shape[dimension] // devices
                array = jax.lax.dynamic_slice_in_dim(array, me * size, size, dimension)
        params[name] = array
    return params
