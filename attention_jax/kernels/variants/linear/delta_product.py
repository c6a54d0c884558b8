"""n delta steps a token, S_t = A_n ... A_1 S_{t-1} + ..., A_j = I - b_j k_j k_j^T: Siems et al. 2025 (DeltaProduct).

Each step of section 4.1, equation 5, has a key, a value and a strength of its own: `key` and `value` are those of the
first, per_token "keys" and "values" those of the others, "beta" the strengths of all. It is `delta_net` over n tokens
for each, of which the last one's query counts. With strengths up to 2 a product of two reflections is a rotation, so
that one head can follow a group that one step of `delta_net` cannot. The recipe is that of `delta_net`, as the paper
says in section 4.1, over all keys and values; a forget gate (Gated DeltaProduct) belongs to another mechanism.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import PerToken
from attention_jax.kernels.composition import Composition, Solve, on_other_tokens
from attention_jax.kernels.mask import Causal, Padding, Segments
from attention_jax.kernels.mask_algebra import Mask, conjunction, terms
from attention_jax.kernels.mechanism import widest
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.recipe import PROJECTED, Recipe
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.variants.linear.delta_net import delta_net
from attention_jax.kernels.variants.linear.gates import CLAIMS


@dataclass(frozen=True, kw_only=True)
class _OfStates(Composition):
    """A composition whose part is a recurrence."""

    reference: ClassVar[str] = "recurrence"


def _in_turn(first: Float[Array, "B S K W"], others: Float[Array, "B S K m W"]) -> Float[Array, "B Sn K W"]:
    """What each step has, token by token and step by step."""
    dtype = widest(first.dtype, others.dtype)
    every = jnp.concatenate([first[:, :, None].astype(dtype), jnp.moveaxis(others, 3, 2).astype(dtype)], axis=2)
    return jax.lax.collapse(every, 1, 3)


def _mask_of_steps(mask: Mask | None, steps: int, real: Array | None) -> Mask | None:
    rules: list[Mask] = [] if real is None else [Padding(jnp.repeat(real, steps, axis=1))]
    for rule in terms(mask):
        if isinstance(rule, Segments):
            alike = rule.key is None or rule.key is rule.query
            key = None if alike else jnp.repeat(rule.key_ids, steps, axis=1)
            rules.append(Segments(jnp.repeat(rule.query_ids, steps, axis=1), key))
        elif isinstance(rule, Causal):
            rules.append(rule)
    return conjunction(*rules)


@register(
    source=Source(
        "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder Products",
        "section 4.1, equation 5",
        authors=(
            "Siems, Julien and Carstensen, Timur and Zela, Arber and Hutter, Frank and Pontil, Massimiliano and "
            "Grazzi, Riccardo"
        ),
        year=2025,
        venue="NeurIPS 2025",
        arxiv="2502.10297",
    ),
    claims=replace(
        CLAIMS, order_free=False, masks=("Causal", "Padding", "Segments"), time="linear", tried="delta_product:steps=3"
    ),
    recipe=Recipe(convolved=(*PROJECTED, "keys", "values"), activated=(*PROJECTED, "keys", "values"), head_norm="rms"),
)
def delta_product(*, steps: int = 2, max_beta: float = 2.0) -> Composition:
    """The delta rule several times a token, each time with another key and value; no normaliser.

    Args:
      steps: n, how often.
      max_beta: what a strength comes near to at most; 2 lets a step turn a state around.

    Raises:
      Refused: there are fewer than 2 steps, or max_beta is not in (0, 2].
    """
    if steps < 2:
        raise Refused(f"delta_product has steps={steps}: give 2 or more; one step a token is delta_net.")
    rule = delta_net(max_beta=max_beta)

    def run(problem: Problem, solve: Solve) -> AttentionOutput:
        query, per_token = problem.query, problem.per_token
        queries = jnp.pad(query[:, :, None], [(0, 0), (0, 0), (steps - 1, 0), (0, 0), (0, 0)])
        of_steps = on_other_tokens(
            problem,
            rule,
            name="its steps",
            query=jax.lax.collapse(queries, 1, 3),
            key=_in_turn(problem.key, per_token["keys"]),
            value=_in_turn(problem.value, per_token["values"]),
            mask=_mask_of_steps(problem.mask, steps, problem.given.real),
            per_token={"beta": jax.lax.collapse(jnp.moveaxis(per_token["beta"], 3, 2), 1, 3)},
            # Not to be used: that there are any is for the engine to refuse.
            positions=problem.positions,
            outputs=problem.outputs,
        )
        result = solve(of_steps)
        return replace(result, out=result.out[:, steps - 1 :: steps])

    return _OfStates(
        run=run,
        per_token={
            "beta": PerToken(("K", steps)),
            "keys": PerToken(("K", steps - 1, "J")),
            "values": PerToken(("K", steps - 1, "Hv")),
        },
    )
