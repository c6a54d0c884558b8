"""The attention variants by name: what each claims and where it comes from."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels.arrays import Params, Sizes
from attention_jax.kernels.mechanism import Mechanism
from attention_jax.kernels.recipe import NAMED, OWN, Recipe, split_recipe
from attention_jax.kernels.source import Source
from attention_jax.kernels.specs import Kind, definition_of


@dataclass(frozen=True)
class Limit:
    """A setting in which a variant must equal another one.

    Attributes:
      spec: the variant in its limit.
      equals: the spec of the other one.
      tolerance: the largest difference, over the standard deviation of the output.
      input_scale: standard deviation of the queries and keys it is tried on.
      unit_norm: whether they are then divided by their norms.
      params: the arrays that make the limit, from the widths; None when there are none to set.
    """

    spec: str
    equals: str
    tolerance: float
    input_scale: float = 1.0
    unit_norm: bool = False
    params: Callable[[Sizes], Params] | None = None


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a variant says of itself. The tests, the tables and the refusals are made from it.

    What is None is as the kind of mechanism has it (`Mechanism.usual`), and has its value in `Variant.claims`.

    Attributes:
      causal: "strict": under a causal mask the future has no influence at all; "approximate": the choice of what to
        attend to can leak it; "no": there is no causal form.
      bidirectional: it takes masks that are not causal, and none.
      cross: queries and keys may be different sequences.
      grouped: it takes fewer key heads than query heads.
      unequal_widths: queries and keys may differ in width.
      bias: it takes an additive bias.
      dropout: it takes dropout of its weights.
      weights: it returns its weights.
      lse: it returns the log of its normaliser.
      weighted: "all": every key that a query sees has weight; "some": one may have none.
      aux: the names of what it reports in `aux`.
      order_free: the order of the keys in the array does not matter, where their positions are given.
      heads_apart: heads do not see each other.
      rows_apart: a query's result does not depend on the other queries of the call.
      convex: weights are not negative and sum to 1: a lone visible key gives its value.
      masks: the kinds of mask that it takes, joined by &, by the names of their classes; None for all.
      state: it continues from a state, in the form of a recurrence.
      steps: it continues from the state that earlier queries left, the keys being whole (an alignment).
      time: how the work of forward and backward grows with the number of tokens, its options being as they are.
      memory: how the memory of forward and backward grows with it.
      limits: what it must equal, and when.
      tried: the spec that the contract tries, whose options make it do at seven tokens what it is for; None for the
        name alone.
      fewest_keys: it refuses fewer keys than these, with the options of `tried`.
    """

    causal: Literal["strict", "approximate", "no"] = "strict"
    bidirectional: bool = True
    cross: bool = True
    grouped: bool = True
    unequal_widths: bool = False
    bias: bool = True
    dropout: bool = True
    weights: bool = True
    lse: bool = True
    weighted: Literal["all", "some"] = "all"
    order_free: bool | None = None
    heads_apart: bool | None = None
    rows_apart: bool | None = None
    convex: bool | None = None
    aux: tuple[str, ...] = ()
    masks: tuple[str, ...] | None = None
    state: bool = False
    steps: bool = False
    time: Literal["quadratic", "subquadratic", "linear"] | None = None
    memory: Literal["quadratic", "linear"] = "linear"
    limits: tuple[Limit, ...] = ()
    tried: str | None = None
    fewest_keys: int = 1


@dataclass(frozen=True, eq=False)
class Variant:
    """A mechanism with its options chosen.

    Attributes:
      spec: the string that chose it.
      kernel: the same without a recipe, as `attend` takes it.
      name: its registered name.
      mechanism: what the engines run.
      claims: what it says of itself.
      source: where it was published.
      doc: its description.
      options: name to (default, chosen value) of every option.
      family: the room that its file is in, such as "linear"; of a user's own file its name.
      recipe: what a layer puts around it: what its file names, or the spec.
      aliases: other names that papers and packages have for it.
    """

    spec: str
    kernel: str
    name: str
    mechanism: Mechanism
    claims: Claims
    source: Source
    doc: str
    options: dict[str, tuple[Any, Any]]
    family: str
    recipe: Recipe
    aliases: tuple[str, ...] = ()


VARIANTS = Kind(
    "attention variant", Catalogue("attention variant", "attention_jax.kernels.variants"), example="scaled_dot"
)


def register(
    *, source: Source, claims: Claims, aliases: tuple[str, ...] = (), recipe: Recipe = NAMED["none"]
) -> Callable[[Callable[..., Mechanism]], Callable[..., Mechanism]]:
    """Registers the decorated function, which returns the `Mechanism`, as the variant of its name: see `Kind.register`.

    Args:
      source: where the mechanism was published.
      claims: what it says of itself.
      aliases: other names that papers and packages have for it.
      recipe: what its paper puts around it, which layers obey unless they are told otherwise.

    Raises:
      Refused: another variant has the name.
    """
    return VARIANTS.register(source=source, claims=claims, aliases=aliases, recipe=recipe)


def recipes() -> dict[str, Recipe]:
    """Returns the recipes that a spec can name beside "own": those with a name, and those of variants that have one."""
    own = {name: definition_of(VARIANTS.catalogue.lookup(name)).recipe for name in names()}
    return NAMED | {name: recipe for name, recipe in own.items() if recipe != NAMED["none"]}


def names() -> list[str]:
    """Returns the name of every registered variant, sorted."""
    return VARIANTS.catalogue.names()


@functools.lru_cache(maxsize=1024)
def lookup(spec: str) -> Variant:
    """Returns the variant that `spec` chooses.

    Args:
      spec: such as "scaled_dot", "performer:features=256" or "my_file.py:my_attention"; a recipe may be named in it,
        "scaled_dot:recipe=gated".

    Raises:
      Refused: the name, an option, a value or the recipe is wrong; the message gives the nearest right name.
    """
    kernel, recipe = split_recipe(spec)
    chosen = VARIANTS.choose(kernel)
    file, in_file, _ = spec.partition(".py:")
    usual: dict[str, Any] = {
        name: value for name, value in chosen.made.usual.items() if getattr(chosen.claims, name) is None
    }
    return Variant(
        spec=spec,
        kernel=kernel,
        name=chosen.name,
        mechanism=chosen.made,
        claims=replace(chosen.claims, **usual),
        source=chosen.source,
        doc=chosen.doc,
        options=chosen.options,
        family=f"{Path(file).name}.py" if in_file else chosen.module.split(".")[-2],
        recipe=chosen.recipe if recipe == OWN else _recipe(spec, recipe, chosen.made),
        aliases=chosen.aliases,
    )


def lookup_kernel(spec: str) -> Variant:
    """Returns the variant that `spec` chooses, where nothing stands around it.

    Raises:
      Refused: the spec is wrong, or names a recipe.
    """
    resolved = lookup(spec)
    if resolved.kernel != spec:
        raise Refused(
            f"{spec} names a recipe, which is for the layer around a kernel (model.attention): give {resolved.kernel} "
            "to the kernel alone."
        )
    return resolved


def _recipe(spec: str, name: str, mechanism: Mechanism) -> Recipe:
    """The recipe that a spec names for a mechanism."""
    known = recipes()
    if name not in known:
        raise Refused(f"{spec}: there is no recipe {name!r}.{did_you_mean(name, [OWN, *known])}")
    foreign = sorted(known[name].names - mechanism.per_token.keys())
    if foreign:
        raise Refused(
            f"{spec}: recipe {name} is for {', '.join(foreign)} of each token, which this variant does not take: give "
            "another recipe, such as delta_net."
        )
    return known[name]
