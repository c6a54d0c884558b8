"""Token mixers by spec: those that own their projections, and around every other attention variant `Attention`."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused
from attention_jax.kernels import Causal, Claims, lookup
from attention_jax.kernels import decode_state as of_variants
from attention_jax.kernels.mask_algebra import describe, terms
from attention_jax.kernels.source import Source
from attention_jax.kernels.specs import Build, Chosen, Kind, defined_in, definition_of, parse_spec
from attention_jax.kernels.steps import Fresh
from attention_jax.layers.attention import Attention, Seen
from attention_jax.layers.heads import mask_of_layer
from attention_jax.layers.short_convolution import kept_bytes
from attention_jax.layers.stack_options import StackOptions

# (options of the stack, number of the layer, from 1, name) -> the module. It is called as `Attention` is.
MakeMixer = Callable[..., nn.Module]

MIXERS = Kind("mixer", Catalogue("mixer", "attention_jax.layers.mixers"), example="mla")

# The options of a stack that attention alone reads, and that a mixer has to claim.
OPTIONAL = ("num_kv_heads", "head_width", "query_key_norm", "query_scale", "attention_dropout_rate", "engine")
# Those that each layer of such a stack has, so that one mixer without it is refused whatever the others are.
OF_EACH_LAYER = ("window", "value_residual")
_DEFAULTS = {field.name: field.default for field in fields(StackOptions)}


@dataclass(frozen=True, kw_only=True)
class MixerClaims:
    """What a mixer says of itself. The tests, the tables and the refusals are made from it.

    Attributes:
      causal: "strict": under a causal mask the future has no influence at all; "no": there is no causal form.
      decodes: it goes on token by token from a state.
      masks: the kinds of mask that it takes, joined by &, by the names of their classes; None for all.
      options: those of `OPTIONAL` and `OF_EACH_LAYER` that it reads.
      positions: the position encodings in the logits that it takes, by name.
      time: how the work of forward and backward grows with the number of tokens.
      tried: the spec that the contract tries, whose options make it do at few tokens what it is for; None for the name
        alone.
    """

    causal: Literal["strict", "no"] = "strict"
    decodes: bool = True
    masks: tuple[str, ...] | None = None
    options: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    time: Literal["quadratic", "subquadratic", "linear"] = "quadratic"
    tried: str | None = None


def register_mixer(*, source: Source, claims: MixerClaims, aliases: tuple[str, ...] = ()) -> Callable[[Build], Build]:
    """Registers the decorated function, which returns a `MakeMixer`, by its name: see `Kind.register`.

    Args:
      source: where it was published.
      claims: what it says of itself.
      aliases: other names that papers and packages have for it.

    Raises:
      Refused: another mixer has the name.
    """
    return MIXERS.register(source=source, claims=claims, aliases=aliases)


def mixer(spec: str, options: StackOptions, layer: int, seen: Seen, *, cross: bool = False) -> nn.Module:
    """Returns the module that mixes the tokens of a layer, named "attention", or "cross_attention".

    Args:
      spec: of a mixer, or of an attention variant.
      options: of the stack.
      layer: its number, from 1.
      seen: what its tokens will see.
      cross: whether keys and values are of the memory and not of the tokens.

    Raises:
      Refused: the spec is wrong, or the mixer cannot honour an option, or what the tokens see.
    """
    name = "cross_attention" if cross else "attention"
    if not is_mixer(spec):
        return Attention(spec, options, layer=layer, cross=cross, name=name)
    if cross:
        raise Refused(
            f"cross_attention={spec!r} mixes the tokens of one sequence and looks at no memory: use an attention "
            "variant, such as scaled_dot."
        )
    chosen = MIXERS.choose(spec)
    _check_options(chosen, options, layer)
    _check_seen(chosen, seen)
    return chosen.made(options=options, layer=layer, name=name)


def is_mixer(spec: str) -> bool:
    """Returns whether a spec is of a mixer with its own projections, and not of an attention variant."""
    name, _ = parse_spec(spec, what="mixer", example=MIXERS.example)
    if ".py:" not in name:
        return name in MIXERS.catalogue.names()
    path, _, own = name.rpartition(":")
    build = defined_in(Path(path), own, what="attention").get(own)
    return build is not None and definition_of(build).kind == MIXERS.name


def claims_of(spec: str) -> Claims | MixerClaims:
    """Returns what a mixer, or else an attention variant, says of itself.

    Raises:
      Refused: the name, an option or a value is wrong.
    """
    claims: Claims | MixerClaims = MIXERS.choose(spec).claims if is_mixer(spec) else lookup(spec).claims
    return claims


def require_causal(spec: str, *, owner: str, approximate: bool = False) -> None:
    """Checks that a mixer or a variant can be trained to predict the next token.

    Args:
      spec: its spec.
      owner: what needs it, for the message.
      approximate: accept one whose choice of what to attend to can leak the future.

    Raises:
      Refused: it has no causal form, or one that can leak and `approximate` is False.
    """
    causal = claims_of(spec).causal
    if causal == "no":
        raise Refused(f"{owner} predicts the next token, and {spec} has no causal form. Use variant scaled_dot.")
    if causal == "approximate" and not approximate:
        raise Refused(
            f"{owner} predicts the next token, and {spec} can leak it: its choice of keys depends on the future. "
            "Use a strictly causal variant, or set approximate_causal=True to accept the leak."
        )


def decode_bytes(options: StackOptions, layer: int, *, tokens: int) -> int | None:
    """Returns how many bytes one sequence of a layer needs to be decoded up to `tokens` tokens, from shapes alone.

    Args:
      options: of the stack.
      layer: its number, from 1.
      tokens: the length of the whole sequence.

    Returns:
      None where the mixer or the variant has no steps.
    """
    spec = options.of_layer("attention", layer)
    if not is_mixer(spec):
        variant, dtype = lookup(spec), options.compute_dtype
        mask, encoding = mask_of_layer(options, layer, Causal()), options.encoding_of(layer)
        of_kernel = of_variants.decode_bytes(
            variant.kernel, options.sizes, tokens=tokens, dtype=dtype, mask=mask, position_encoding=encoding
        )
        around = kept_bytes(variant, options.sizes, width=options.width, dtype=dtype)
        return None if of_kernel is None else of_kernel + around
    chosen = MIXERS.choose(spec)
    if not chosen.claims.decodes:
        return None
    module = chosen.made(options=options, layer=layer, parent=None)

    def after_a_token() -> Any:
        inputs = jnp.zeros((1, tokens, options.width), options.compute_dtype)
        variables = module.init(jax.random.key(0), inputs, Seen(Causal()))
        seen = Seen(Causal(), jnp.zeros((1, 1), jnp.int32), lengths=jnp.ones(1, jnp.int32))
        return module.apply(variables, inputs[:, :1], seen, state=Fresh(tokens)).state

    return of_variants.bytes_of(jax.eval_shape(after_a_token))


def _check_options(chosen: Chosen[MakeMixer], options: StackOptions, layer: int) -> None:
    claims, way_out = chosen.claims, "leave it out, or use attention scaled_dot"
    for option in OPTIONAL:
        value = getattr(options, option)
        # An option that other layers read is for those.
        read = any(not is_mixer(spec) or option in MIXERS.choose(spec).claims.options for spec in options.attentions)
        if value != _DEFAULTS[option] and not read:
            raise Refused(f"attention {chosen.name} does not take model.{option}={value!r}: {way_out}.")
    for option in OF_EACH_LAYER:
        value = options.of_layer(option, layer)
        if value is not None and option not in claims.options:
            raise Refused(f"attention {chosen.name} does not take model.{option}={value!r}: {way_out}.")
    encoding = options.encoding_of(layer)
    if encoding is not None and parse_spec(encoding)[0] not in claims.positions:
        taken = ", ".join(claims.positions) or "none of that kind"
        raise Refused(
            f"attention {chosen.name} does not take model.positions={encoding!r} in its logits (it takes {taken}): use "
            "positions='learned', which the embeddings have, or 'none'."
        )


def _check_seen(chosen: Chosen[MakeMixer], seen: Seen) -> None:
    claims = chosen.claims
    if seen.lengths is not None and not claims.decodes:
        raise Refused(f"attention {chosen.name} has no steps of tokens to decode in: use attention scaled_dot.")
    if seen.mask is not None and seen.mask.causal and claims.causal == "no":
        raise Refused(f"attention {chosen.name} has no causal form: use attention scaled_dot.")
    if claims.masks is not None and any(type(term).__name__ not in claims.masks for term in terms(seen.mask)):
        taken = " and ".join(claims.masks) or "none"
        raise Refused(
            f"attention {chosen.name} does not take the mask {describe(seen.mask)} (it takes {taken}): use attention "
            "scaled_dot."
        )
