"""What there is, and all that is known of one thing, for `launch.py list` and `show`."""

import ast
import inspect
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from attention_jax import data, models, tasks
from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.options import is_section, option_parameters, section_parameters
from attention_jax.kernels import Composition, explain, lookup, names
from attention_jax.kernels.arrays import in_words
from attention_jax.kernels.cache import decodes
from attention_jax.kernels.example import example
from attention_jax.kernels.position import Position
from attention_jax.kernels.recipe import OWN
from attention_jax.kernels.registry import VARIANTS, Variant, recipes
from attention_jax.kernels.specs import Chosen, Kind
from attention_jax.layers.kinds import KINDS, kind_of
from attention_jax.layers.mixer import MIXERS

CATALOGUES: dict[str, Catalogue] = {
    "model": models.models,
    "task": tasks.tasks,
    "slicing": tasks.slicings,
    "data set": data.dataset.data_sets,
}

# Mixers, position encodings, poolings and pairs.
BY_SPEC = tuple(kind for kind in KINDS if kind is not VARIANTS)

# What a variant says for its tests, or is told otherwise.
NOT_TOLD = ("limits", "tried", "fewest_keys")


def print_list(kinds: Sequence[str], experiments: Path = Path("experiments")) -> None:
    """Prints what there is of some kinds of things, a line each; of experiments the config files of a folder."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    for kind in kinds:
        variants = kind == VARIANTS.name
        table = _table(kind, *(("causal", "time", "memory") if variants else ()), "what it is")
        for one in _told(kind, experiments):
            claims = lookup(one["name"]).claims if variants else None
            costs = (claims.causal, claims.time, claims.memory) if claims else ()
            table.add_row(one["name"], *costs, one["what"])
        console.print(table, "")
    console.print("launch.py show NAME tells all of one; show --config=FILE.py prints every key of an experiment.")


def print_json(kinds: Sequence[str], experiments: Path = Path("experiments")) -> None:
    """Prints the same as one JSON object: kind -> what there is of it, variants with their source and claims."""
    by_spec = {kind.name: kind for kind in BY_SPEC}
    found: dict[str, list[dict[str, Any]]] = {}
    for kind in kinds:
        if kind == VARIANTS.name:
            found[kind] = [_facts(lookup(name)) for name in names()]
        elif kind in by_spec:
            found[kind] = [_facts_of(by_spec[kind].choose(name)) for name in by_spec[kind].catalogue.names()]
        else:
            found[kind] = _told(kind, experiments)
    print(json.dumps(found, indent=2, ensure_ascii=False))


def _told(kind: str, experiments: Path) -> list[dict[str, str]]:
    """Returns the name of each thing of a kind, and in a line what it is."""
    by_spec = {known.name: known for known in KINDS}
    if kind in by_spec:
        docs = {name: by_spec[kind].choose(name).doc for name in by_spec[kind].catalogue.names()}
    elif kind in CATALOGUES:
        docs = {name: inspect.getdoc(CATALOGUES[kind].lookup(name)) or "" for name in CATALOGUES[kind].names()}
    else:
        files = sorted(experiments.rglob("*.py"))
        docs = {str(path): ast.get_docstring(ast.parse(path.read_text())) or "" for path in files}
    return [{"name": name, "what": _first_line(doc)} for name, doc in docs.items()]


def _engines(variant: Variant) -> list[str]:
    """Returns the engines that take 1024 tokens here; of a variant made of others those that its parts run on."""
    # Shapes are enough, and drawing numbers would take most of the time.
    given = example(variant.spec, batch=1, tokens=1024, heads=4, width=16, seed=None)
    candidates = explain(given.query, given.key, given.value, **given.arguments)
    composed = isinstance(variant.mechanism, Composition)
    return list(dict.fromkeys(one.engine for one in candidates if (one.taken if composed else one.qualified)))


def _facts(variant: Variant) -> dict[str, Any]:
    claims = {claim: value for claim, value in vars(variant.claims).items() if claim not in NOT_TOLD}
    return {
        "name": variant.name,
        "what": _first_line(variant.doc),
        "aliases": variant.aliases,
        "family": variant.family,
        **asdict(variant.source),
        **claims,
        "decodes": decodes(variant),
        "engines": _engines(variant),
        "recipe": str(variant.recipe),
        "limits": _limits(variant.claims),
        "per_token": {name: str(one) for name, one in variant.mechanism.per_token.items()},
        "options": {key: default for key, (default, _) in variant.options.items()},
    }


def _limits(claims: Any) -> list[dict[str, Any]]:
    return [{"spec": one.spec, "equals": one.equals, "tolerance": one.tolerance} for one in claims.limits]


def _facts_of(chosen: Chosen[Any]) -> dict[str, Any]:
    """Returns what is known of what is no variant; a claim that is a function is told by its being there."""
    claims = {claim: value for claim, value in vars(chosen.claims).items() if claim not in NOT_TOLD}
    of_position = {}
    if isinstance(chosen.made, Position):
        of_position = {"is_in": chosen.made.within, "limits": _limits(chosen.claims)}
    return {
        "name": chosen.name,
        "what": _first_line(chosen.doc),
        "aliases": chosen.aliases,
        **asdict(chosen.source),
        **{claim: callable(value) or value for claim, value in claims.items()},
        **of_position,
        "options": {key: default for key, (default, _) in chosen.options.items()},
    }


def print_bibtex(spec: str) -> None:
    """Prints the entry of a mechanism's paper for a bibliography.

    Raises:
      Refused: there is no such mechanism, or nobody has published it.
    """
    name = _with_own_name(spec)
    source = kind_of(name).choose(name).source
    if not source.bibtex:
        raise Refused(f"--format=bibtex: {spec} is of no paper ({source}): `show {spec}` tells what it is.")
    print(source.bibtex)


def print_one(name: str) -> None:
    """Prints all that is known of one thing, by its spec, or of a model, a task or a data set by its name.

    Where several have a name, such as the pair mechanism and the model of one paper, it prints each.

    Raises:
      Refused: there is nothing of that name, or the spec has a wrong option.
    """
    named = {kind: catalogue for kind, catalogue in CATALOGUES.items() if name in catalogue.names()}
    if _is_spec(name) or not named:
        _print_mechanism(name)
    for number, (kind, catalogue) in enumerate(named.items(), start=_is_spec(name)):
        if number:
            print()
        _print_entry(kind, name, catalogue.lookup(name))


def _print_entry(kind: str, name: str, builder: Any) -> None:
    """Prints a model, a task or a data set."""
    print(f"{kind} {name}\n\n{inspect.getdoc(builder)}\n")
    fields = option_parameters(builder).values()
    for section in {type(field.default): None for field in fields if is_section(field.default)}:
        print(f"{inspect.getdoc(section)}\n")
    print("options:")
    known = models.parameters_of(builder) if kind == "model" else option_parameters(builder)
    print("\n".join(_options(known.values())))


def _is_spec(name: str) -> bool:
    known = [one for kind in KINDS for one in kind.catalogue.names()]
    return ".py:" in name or _with_own_name(name).partition(":")[0] in known


def _print_mechanism(name: str) -> None:
    base, others = name.partition(":")[0], [one for catalogue in CATALOGUES.values() for one in catalogue.names()]
    if name.endswith(".py"):
        raise Refused(
            f"{name!r} is a file: give --config={name} for the keys of an experiment, or {name}:NAME for an attention "
            "that it registers."
        )
    if not _is_spec(name) and base in others:
        raise Refused(f"{base!r} takes no options here, and {name!r} gives some: `launch.py show {base}` lists them.")
    if not _is_spec(name):
        known = [one for kind in KINDS for one in kind.catalogue.names()]
        raise Refused(f"there is nothing called {base!r}.{did_you_mean(base, [*known, *others])}")
    name = _with_own_name(name)
    kind_found = kind_of(name)
    if kind_found is VARIANTS:
        _print_variant(lookup(name))
    else:
        _print_chosen(kind_found, kind_found.choose(name))


def _with_own_name(spec: str) -> str:
    """Returns a spec with the registered name in the place of another one that papers have for it."""
    name, colon, options = spec.partition(":")
    aliases = {alias: known for kind in KINDS for alias, known in kind.catalogue.aliases().items()}
    return f"{aliases.get(name, name)}{colon}{options}"


def _print_chosen(kind: Kind, chosen: Chosen[Any]) -> None:
    _print_head(kind, chosen)
    if kind is not MIXERS:
        arrays = chosen.made.arrays | getattr(getattr(chosen.made, "without_query", None), "arrays", {})
        print("\narrays:")
        print("\n".join(f"  {name} {in_words(one.axes)}" for name, one in arrays.items()) or "  none")
    if isinstance(chosen.made, Position):
        print(f"\nis in: {', '.join(chosen.made.within)}")
    _print_claims(chosen.spec, {claim: callable(value) or value for claim, value in vars(chosen.claims).items()})


def _print_head(kind: Kind, chosen: Chosen[Any] | Variant) -> None:
    aliases = f"\n\nalso called {', '.join(chosen.aliases)}" if chosen.aliases else ""
    print(f"{kind.name} {chosen.spec}\n\n{chosen.doc}{aliases}\n\nsource: {chosen.source}\n\noptions:")
    lines = [f"  {key} = {value!r}  (default {default!r})" for key, (default, value) in chosen.options.items()]
    print("\n".join(lines) or "  none")


def _print_claims(spec: str, claims: Mapping[str, Any]) -> None:
    check = f"tested by launch.py check {spec}"
    print(f"\nclaims, {check if '.py:' in spec else 'each held by a test'}:")
    for claim, value in claims.items():
        if claim not in NOT_TOLD:
            print(f"  {claim}: {value}")
    for limit in claims.get("limits", ()):
        print(f"  limit: {limit.spec} equals {limit.equals} within {limit.tolerance:g}")


def _print_variant(variant: Variant) -> None:
    _print_head(VARIANTS, variant)
    print("\nper token, beside query, key and value:")
    print("\n".join(f"  {name} {one}" for name, one in variant.mechanism.per_token.items()) or "  none")
    print(f"\nrecipe, which a layer puts around it: {variant.recipe}")
    print(f"  others, by {variant.name}:recipe=NAME: {', '.join((OWN, *recipes()))}")
    _print_claims(variant.spec, vars(variant.claims))


def _options(parameters: Iterable[inspect.Parameter], within: str = "") -> list[str]:
    """One line for each key of a config, those of sections with dots."""
    lines: list[str] = []
    for parameter in parameters:
        name, default = f"{within}{parameter.name}", parameter.default
        if is_section(default):
            lines += _options(section_parameters(default).values(), f"{name}.")
        else:
            lines.append(f"  {name}" + (" (from the data)" if default is parameter.empty else f" = {default!r}"))
    return lines


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n")[0]


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    table.columns[0].no_wrap = True
    return table
