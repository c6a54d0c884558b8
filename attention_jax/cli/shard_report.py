"""What `launch.py shard` prints: where each parameter of an experiment lies, the memory of a device, and what devices
tell each other. The step is compiled and nothing is allocated.
"""

import math
import sys
from collections import Counter
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from attention_jax.base.formatting import memory
from attention_jax.cli.collectives import KINDS, collectives
from attention_jax.layers.paths import path_of
from attention_jax.training import Experiment


def print_shards(experiment: Experiment) -> None:
    """Prints the parameters with their specs and bytes, the memory of a device, and the step's collectives."""
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160, highlight=False)
    mesh = " x ".join(f"{axis} {size}" for axis, size in experiment.mesh.shape.items())
    console.print(f"mesh: {mesh} = {experiment.mesh.size} {jax.default_backend()} devices")
    console.print(_parameters(experiment))
    compiled, cost = experiment.compiled_step
    analysis = compiled.memory_analysis()
    state = experiment.abstract_state
    console.print(
        _rows(
            "in one device's memory",
            {
                "parameters": _held(state.params),
                "optimizer state": _held(state.opt_state),
                "average of the parameters": _held(state.average),
                "the batch": _held(experiment.abstract_batch),
                "activations and other temporaries of the step, at most": analysis.temp_size_in_bytes,
                "all of the step at its peak": cost.peak_bytes,
            },
        )
    )
    console.print(_collectives(compiled.as_text()))


def _parameters(experiment: Experiment) -> Table:
    table = Table("parameter", "shape", "lies over", title="", box=None, pad_edge=False)
    table.add_column("a device", justify="right")
    table.add_column("of all", justify="right")
    for keys, leaf in jax.tree_util.tree_leaves_with_path(experiment.abstract_state.params):
        held, whole = _held(leaf), math.prod(leaf.shape) * leaf.dtype.itemsize
        spec = ", ".join(_words(axis) for axis in leaf.sharding.spec)
        table.add_row(path_of(keys), str(list(leaf.shape)), f"({spec})", memory(held), memory(whole))
    return table


def _words(axis: Any) -> str:
    return "+".join(axis) if isinstance(axis, tuple) else str(axis or "-")


def _held(tree: Any) -> int:
    """The bytes of a tree's shapes on one device."""
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _rows(title: str, values: dict[str, int]) -> Table:
    table = Table(title, "", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, size in values.items():
        if size:
            table.add_row(name, memory(size))
    return table


def _collectives(program: str) -> Table:
    found = collectives(program)
    table = Table("collectives of a step (in a loop: of one turn)", box=None, pad_edge=False)
    table.add_column("times", justify="right")
    table.add_column("to each device", justify="right")
    table.add_column("the largest arrays")
    for kind in KINDS:
        mine = [collective for collective in found if collective.kind == kind]
        arrays = Counter(array for collective in mine for array in collective.arrays)
        largest = sorted(arrays, key=lambda array: math.prod(array[1]), reverse=True)[:3]
        if mine:
            shown = "  ".join(f"{dtype}{list(shape)} x {arrays[dtype, shape]}" for dtype, shape in largest)
            table.add_row(kind, str(len(mine)), memory(sum(each.num_bytes for each in mine)), shown)
    if not found:
        table.add_row("none: one device", "", "", "")
    return table
