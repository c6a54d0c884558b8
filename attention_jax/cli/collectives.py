"""What devices tell each other in a compiled program, read from its text."""

import math
import re
from dataclasses import dataclass

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_CALL = re.compile(rf"= (?P<result>.*?) (?P<kind>{'|'.join(KINDS)})(?P<started>-start)?\(")
_ARRAY = re.compile(r"(?P<dtype>pred|[a-z]+\d+\w*)\[(?P<shape>[\d,]*)\]")


@dataclass(frozen=True)
class Collective:
    """One collective of a program.

    Attributes:
      kind: one of KINDS.
      arrays: the dtype, such as "f32", and the shape of each array that it gives one device.
    """

    kind: str
    arrays: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def num_bytes(self) -> int:
        """What it gives one device, in bytes."""
        return sum(math.prod(shape) * _width(dtype) for dtype, shape in self.arrays)


def collectives(program: str) -> list[Collective]:
    """Returns the collectives of a compiled program; one in the body of a loop is there once.

    Args:
      program: its HLO, `jax.stages.Compiled.as_text()`.
    """
    found = []
    for line in program.splitlines():
        if call := _CALL.search(line):
            # An operation that is started gives its operands too, (operands, results, ...), but for an all-reduce.
            both = call["started"] and call["kind"] != "all-reduce"
            arrays = tuple(
                (array["dtype"], tuple(int(size) for size in array["shape"].split(",") if size))
                for array in _ARRAY.finditer(_members(call["result"])[1] if both else call["result"])
            )
            found.append(Collective(call["kind"], arrays))
    return found


def _members(result: str) -> list[str]:
    """The types that a tuple is of, "(f32[2,3], (f32[4], s32[]))" being of two."""
    members, depth = [""], 0
    for letter in result[1:-1]:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            members.append("")
        else:
            members[-1] += letter
    return members


def _width(dtype: str) -> int:
    bits = re.search(r"\d+", dtype)
    return max(int(bits[0]) // 8, 1) if bits else 1
