"""What the tests of mixers share: one spec for each, one set of inputs, one program."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from attention_jax.contract.cases import quick_jit
from attention_jax.contract.chosen import chosen_specs
from attention_jax.kernels import Causal, Mask, Padding
from attention_jax.layers import Seen, StackOptions
from attention_jax.layers.mixer import MIXERS, MixerClaims, mixer

SPECS = chosen_specs(MIXERS)
BATCH, TOKENS, WIDTH, HEADS = 3, 7, 8, 2
# Of the last sequence no token is real.
LENGTHS = np.array([5, 7, 0])
REAL = np.arange(TOKENS) < LENGTHS[:, None]
Variables = dict[str, Any]


def claims(spec: str) -> MixerClaims:
    """What the mixer says of itself."""
    found: MixerClaims = MIXERS.choose(spec).claims
    return found


def claiming(**wanted: Any) -> list[str]:
    """The specs whose claims have all these values."""
    return [spec for spec in SPECS if all(getattr(claims(spec), name) == value for name, value in wanted.items())]


def takes(spec: str, *kinds: str) -> bool:
    """Whether the mixer takes masks of these kinds, by its claims."""
    taken = claims(spec).masks
    return taken is None or {*kinds} <= {*taken}


class Mixing(nn.Module):
    """A mixer alone, as a block calls it.

    Attributes:
      spec: of the mixer.
      options: of the stack.
      layer: the number of the layer.
    """

    spec: str
    options: StackOptions
    layer: int = 1

    @nn.compact
    def __call__(self, inputs: Array, seen: Seen, **given: Any) -> Any:
        """What the mixer returns."""
        return mixer(self.spec, self.options, self.layer, seen)(inputs, seen, **given)


def options_for(spec: str, **changes: Any) -> StackOptions:
    """The options of a stack of the mixer, with the first position encoding that it takes."""
    positions = (*claims(spec).positions, "none")[0]
    sizes = {"num_heads": HEADS, "width": WIDTH, "positions": positions, "num_layers": 2, "init_stddev": 0.5}
    return StackOptions(**{"attention": spec, **sizes, **changes})


@functools.cache
def module_for(spec: str, **changes: Any) -> Mixing:
    """The mixer in a stack of these options."""
    return Mixing(spec, options_for(spec, **changes))


@functools.cache
@jax.ensure_compile_time_eval()
def make(spec: str, *, seed: int = 0, tokens: int = TOKENS) -> tuple[Array, Variables]:
    """Normal inputs [B, T, D], and variables as after some training: for up to `TOKENS` tokens."""
    rng = np.random.default_rng(seed)
    inputs = jnp.asarray(rng.normal(size=(BATCH, TOKENS, WIDTH)), jnp.float32)
    shapes = jax.eval_shape(lambda: module_for(spec).init(jax.random.key(0), inputs, Seen(one_way(spec))))
    drawn = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype), shapes)
    return inputs[:, :tokens], drawn


def one_way(spec: str) -> Mask | None:
    """A causal mask, or none for a mixer that has no causal form."""
    return None if claims(spec).causal == "no" else Causal()


@functools.partial(quick_jit, static_argnames="spec")
def mixed_and_gradients(spec: str, inputs: Array, variables: Variables, seen: Seen, weighing: Any) -> Any:
    """What is mixed, and the gradient of <weighing, out> with respect to the inputs and the variables."""

    def loss(inputs: Array, variables: Variables) -> tuple[Array, Array]:
        out = module_for(spec).apply(variables, inputs, seen).out
        # What is not weighed may be anything.
        return jnp.where(weighing == 0, 0, out * weighing).sum(), out

    (gradients, out) = jax.grad(loss, argnums=(0, 1), has_aux=True)(inputs, variables)
    return out, gradients


def padded(spec: str) -> Seen:
    """Tokens behind which there is padding, causal where the mixer can be."""
    causal = one_way(spec)
    return Seen(Padding(REAL) if causal is None else causal & Padding(REAL))


WEIGHING = np.random.default_rng(1).normal(size=(BATCH, TOKENS, WIDTH)).astype(np.float32)
