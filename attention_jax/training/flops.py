"""The work of a training step, and the most that the devices could do: what MFU is the ratio of.

XLA's own count, `cost_analysis`, takes the body of a loop once however often it runs (jax 0.10.1 and 0.11.2), so layers
that are scanned, parts of a batch and blocks of attention would be missing. Here products and convolutions are counted
in the jaxpr of the step, where a scan has its length. What is computed again (rematerialisation) counts: this is what
Chowdhery et al. 2022 (PaLM, appendix B) call hardware FLOPs utilisation; without rematerialisation it is their MFU.
"""

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, jaxprs_in_params

# Multiplications and additions a second of one device, bfloat16, dense. TPU: cloud.google.com/tpu/docs, the pages v4,
# v5e, v5p and v6e ("peak compute per chip"; from v4 on a device of JAX is a chip). NVIDIA: the data sheets of A100,
# H100 and H200; the latter two give the figure with sparsity, which is twice this.
PEAKS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA H100 80GB HBM3": 989.5e12,
    "NVIDIA H100 PCIe": 756.5e12,
    "NVIDIA H200": 989.5e12,
}
# Kernels whose work is not to be read off their jaxpr: those that skip blocks, and those of a library.
_UNREAD = ("pallas_call", "ffi_call", "ragged_dot", "dot_product_attention")
_SIDE, _ROUNDS = 512, 5


@dataclass(frozen=True)
class Flops:
    """Multiplications and additions, each counted as one.

    Attributes:
      count: how many, over all devices.
      complete: False where there are more: in a loop whose number of turns shows only as it runs, which counts as one
        turn, or in a kernel that cannot be read, which counts as none.
    """

    count: int
    complete: bool = True


def count_flops(jaxpr: Jaxpr) -> Flops:
    """Returns the products and convolutions of a jaxpr; of a `cond`, those of its largest branch."""
    return _of_jaxpr(jaxpr, frozenset())


def _of_jaxpr(jaxpr: Jaxpr, spread: frozenset[str]) -> Flops:
    """Counts a jaxpr; `spread` are the mesh axes of which it is the program of one device."""
    parts = [_of_equation(equation, spread) for equation in jaxpr.eqns]
    return Flops(sum(part.count for part in parts), all(part.complete for part in parts))


def _of_equation(equation: Any, spread: frozenset[str]) -> Flops:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return Flops(_of_product(equation))
    if name == "conv_general_dilated":
        return Flops(_of_convolution(equation))
    if name.startswith(_UNREAD):
        return Flops(0, complete=False)
    if name == "shard_map":
        (body,) = jaxprs_in_params(params)
        sizes = _manual_axes(body)
        of_one = _of_jaxpr(body, spread | sizes.keys())
        devices = math.prod(size for axis, size in sizes.items() if axis not in spread)
        return Flops(devices * of_one.count, of_one.complete)
    inner = [_of_jaxpr(jaxpr, spread) for jaxpr in jaxprs_in_params(params)]
    complete = all(part.complete for part in inner)
    counts = [part.count for part in inner]
    if name == "cond":
        return Flops(max(counts, default=0), complete)
    if name == "scan":
        return Flops(params["length"] * sum(counts), complete)
    if name == "while":
        return Flops(sum(counts), complete and not sum(counts))
    return Flops(sum(counts), complete)


def _manual_axes(body: Jaxpr) -> dict[str, int]:
    """Returns the mesh axes, with their sizes, that the body of a `shard_map` is one device's share of.

    They stand in the type of each of its arrays. The parameter of the equation that lists them has another name in
    every version of JAX.
    """
    results = [variable for equation in body.eqns for variable in equation.outvars]
    types = [variable.aval for variable in (*body.invars, *results)]
    meshes = [kind.sharding.mesh for kind in types if isinstance(kind, jax.core.ShapedArray)]
    return {axis: mesh.shape[axis] for mesh in meshes for axis in mesh.manual_axes}


def _of_product(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)


def _of_convolution(equation: Any) -> int:
    kernel = equation.invars[1].aval.shape
    _, features, *spatial = equation.params["dimension_numbers"].rhs_spec
    each = kernel[features] * math.prod(kernel[axis] for axis in spatial)
    # A dilated input is zeros but for one place in so many.
    zeros = math.prod(equation.params["lhs_dilation"])
    return 2 * math.prod(equation.outvars[0].aval.shape) * each // zeros


def peak_flops(devices: Sequence[jax.Device]) -> float | None:
    """Returns the most multiplications and additions a second of devices of one kind, or None where it is not known.

    Of accelerators it is that of bfloat16, whatever a model computes in (`PEAKS`). A CPU's is measured, once in a
    process: products of float32 matrices, 512 by 512, on all devices of this process at once.
    """
    if devices[0].device_kind in PEAKS:
        return PEAKS[devices[0].device_kind] * len(devices)
    if devices[0].platform != "cpu":
        return None
    mine = tuple(device for device in devices if device.process_index == jax.process_index())
    return _measured(mine) * len(devices) / len(mine)


@functools.cache
def _measured(devices: tuple[jax.Device, ...]) -> float:
    product = jax.jit(jnp.matmul)
    matrices = [jax.device_put(jnp.ones((_SIDE, _SIDE), jnp.float32), device) for device in devices]
    jax.block_until_ready([product(matrix, matrix) for matrix in matrices])
    seconds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        jax.block_until_ready([product(matrix, matrix) for matrix in matrices])
        seconds.append(time.perf_counter() - start)
    return len(devices) * 2 * _SIDE**3 / min(seconds)
