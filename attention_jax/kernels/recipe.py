"""What a paper puts around its kernel in a layer: short convolutions, activations, a norm of each head, a gate.

A variant's file names the recipe of its paper, and layers obey it. Who wants another one says so in the spec of a
model's attention: "delta_net:recipe=none" is the bare kernel, "scaled_dot:recipe=gated" a gated softmax,
"scaled_dot:recipe=delta_net" a softmax with all that its paper puts around the delta rule.
"""

from dataclasses import dataclass
from typing import Literal

from attention_jax.kernels.specs import parse_spec

Activation = Literal["sigmoid", "silu", "linear"]

# How many tokens a short convolution sees, its own among them.
TAPS = 4
# What can be convolved and activated of every layer; a variant's per_token arrays can be too.
INPUTS = "inputs"
PROJECTED = ("query", "key", "value")

_OPTION = "recipe"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What each head's output is multiplied by: activation(x W), x the input of the layer.

    Attributes:
      by: "channel": one number for each channel of a head; "head": one for each head.
      activation: of the gate.
      through: the activation in a bottleneck as wide as one head, which x W then goes through; None: there is none.
    """

    by: Literal["channel", "head"] = "channel"
    activation: Activation = "sigmoid"
    through: Activation | None = None

    def __str__(self) -> str:
        through = "" if self.through is None else f" through a {self.through} bottleneck"
        return f"{self.activation} gate by {self.by}{through}"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What stands around a kernel. Nothing is the recipe of most.

    The order is: convolution of the input, projections, their convolutions, activations, the kernel, skip, norm, gate.

    Attributes:
      convolved: what a causal depthwise convolution of `TAPS` tokens goes over: "query", "key", "value" or an array
        that the variant takes of each token; "inputs" is what all of these are projected from.
      residual: whether a convolution is added to what it goes over, and does not stand in its place.
      activated: what a SiLU follows, after its convolution where it has one.
      skip: whether a learned multiple of its value, one for each head, is added to a token's output.
      head_norm: the norm of each head's output: "rms", with one scale for all heads (Zhang & Sennrich 2019), or
        "group", with a scale and a bias of each head (Wu & He 2018); None: there is none.
      gate: on the output.
      norm_after_gate: whether the norm comes after the gate.
      shared_query_key: whether keys are the queries, and are not projected; those of a group of query heads are those
        of its first.
    """

    convolved: tuple[str, ...] = ()
    residual: bool = False
    activated: tuple[str, ...] = ()
    skip: bool = False
    head_norm: Literal["rms", "group"] | None = None
    gate: Gate | None = None
    norm_after_gate: bool = False
    shared_query_key: bool = False

    @property
    def names(self) -> frozenset[str]:
        """What it convolves or activates that not every layer has."""
        return frozenset((*self.convolved, *self.activated)) - {INPUTS, *PROJECTED}

    def __str__(self) -> str:
        parts = []
        if self.shared_query_key:
            parts.append("queries for keys")
        if self.convolved:
            added = "added " if self.residual else ""
            parts.append(f"{added}convolution of {TAPS} tokens on {', '.join(self.convolved)}")
        if self.activated:
            parts.append(f"silu on {', '.join(self.activated)}")
        if self.skip:
            parts.append("skip of the value")
        after = [] if self.head_norm is None else [f"{self.head_norm} norm of each head"]
        gate = [] if self.gate is None else [str(self.gate)]
        parts += [*gate, *after] if self.norm_after_gate else [*after, *gate]
        return "; ".join(parts) or "nothing"


# By the name that a spec gives. "gated" and "gated_by_head": Qiu et al. 2025 (arXiv 2505.06708), the gate after the
# attention, from its input. "canon": Allen-Zhu 2025 (arXiv 2512.17351), the layers A and B of the four.
NAMED: dict[str, Recipe] = {
    "none": Recipe(),
    "gated": Recipe(gate=Gate()),
    "gated_by_head": Recipe(gate=Gate(by="head")),
    "canon": Recipe(convolved=(INPUTS, *PROJECTED), residual=True),
}
# What the file of a variant names.
OWN = "own"


def split_recipe(spec: str) -> tuple[str, str]:
    """Splits "delta_net:max_beta=2,recipe=none" into "delta_net:max_beta=2" and "none"; "own" where it names none.

    Raises:
      Refused: it is no spec.
    """
    name, options = parse_spec(spec)
    if _OPTION not in options:
        return spec, OWN
    recipe = str(options.pop(_OPTION))
    given = ",".join(f"{key}={value}" for key, value in options.items())
    return (f"{name}:{given}" if given else name), recipe
