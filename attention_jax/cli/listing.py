"""What there is, and all that is known of one thing, for `launch.py list` and `show`."""

import ast
import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from attention_jax import data, models, tasks
from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.options import option_parameters
from attention_jax.kernels import lookup, names
from attention_jax.kernels.arrays import in_words
from attention_jax.kernels.kinds import KINDS, kind_of
from attention_jax.kernels.registry import VARIANTS, Variant
from attention_jax.kernels.specs import Chosen, Kind

CATALOGUES: dict[str, Catalogue] = {
    "model": models.models,
    "task": tasks.tasks,
    "slicing": tasks.slicings,
    "data set": data.dataset.data_sets,
}

# Position encodings, poolings and pairs.
BY_SPEC = tuple(kind for kind in KINDS if kind is not VARIANTS)

# What a variant says for its tests, or is told otherwise.
NOT_TOLD = ("limits", "tried", "fewest_keys")


def print_list(experiments: Path = Path("experiments")) -> None:
    """Prints the variants, models, tasks, data sets, and the config files of a folder, a line each."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    table = _table("attention variant", "causal", "memory", "what it is")
    for name in names():
        variant = lookup(name)
        table.add_row(name, variant.claims.causal, variant.claims.memory, _first_line(variant.doc))
    console.print(table, "")
    for kind, there in (_by_spec() | _beside_variants(experiments)).items():
        table = _table(kind, "what it is")
        for name, what in there.items():
            table.add_row(name, what)
        console.print(table, "")
    console.print("launch.py show NAME tells all of one; show --config=FILE.py prints every key of an experiment.")


def print_json(experiments: Path = Path("experiments")) -> None:
    """Prints the same as one JSON object: kind -> what there is of it, variants with their source and claims."""
    found: dict[str, list[dict[str, Any]]] = {"attention variant": [_facts(lookup(name)) for name in names()]}
    for by_spec in BY_SPEC:
        found[by_spec.name] = [_facts_of(by_spec.choose(name)) for name in by_spec.catalogue.names()]
    for kind, there in _beside_variants(experiments).items():
        found[kind] = [{"name": name, "what": what} for name, what in there.items()]
    print(json.dumps(found, indent=2, ensure_ascii=False))


def _by_spec() -> dict[str, dict[str, str]]:
    """Returns kind -> name -> what it is, of the position encodings, poolings and pairs."""
    return {
        kind.name: {name: _first_line(kind.choose(name).doc) for name in kind.catalogue.names()} for kind in BY_SPEC
    }


def _beside_variants(experiments: Path) -> dict[str, dict[str, str]]:
    """Returns kind -> name -> what it is, of each catalogue and of the config files of a folder."""
    found = {
        kind: {name: _first_line(inspect.getdoc(catalogue.lookup(name))) for name in catalogue.names()}
        for kind, catalogue in CATALOGUES.items()
    }
    files = sorted(experiments.rglob("*.py"))
    return found | {
        "experiment": {str(path): _first_line(ast.get_docstring(ast.parse(path.read_text()))) for path in files}
    }


def _facts(variant: Variant) -> dict[str, Any]:
    claims = {claim: value for claim, value in vars(variant.claims).items() if claim not in NOT_TOLD}
    return {
        "name": variant.name,
        "what": _first_line(variant.doc),
        "family": variant.family,
        **asdict(variant.source),
        **claims,
        "limits": [
            {"spec": one.spec, "equals": one.equals, "tolerance": one.tolerance} for one in variant.claims.limits
        ],
        "inputs": {name: str(one) for name, one in variant.mechanism.inputs.items()},
        "options": {key: default for key, (default, _) in variant.options.items()},
    }


def _facts_of(chosen: Chosen[Any]) -> dict[str, Any]:
    """Returns what is known of what is no variant; a claim that is a function is told by its being there."""
    claims = {claim: value for claim, value in vars(chosen.claims).items() if claim not in NOT_TOLD}
    return {
        "name": chosen.name,
        "what": _first_line(chosen.doc),
        **asdict(chosen.source),
        **{claim: callable(value) or value for claim, value in claims.items()},
        "options": {key: default for key, (default, _) in chosen.options.items()},
    }


def print_bibtex(spec: str) -> None:
    """Prints the entry of a mechanism's paper for a bibliography.

    Raises:
      Refused: there is no such mechanism, or nobody has published it.
    """
    source = kind_of(spec).choose(spec).source
    if not source.bibtex:
        raise Refused(f"--format=bibtex: {spec} is of no paper ({source}): `show {spec}` tells what it is.")
    print(source.bibtex)


def print_one(name: str) -> None:
    """Prints all that is known of a variant, position encoding, pooling or pair (by spec), model, task or data set.

    Raises:
      Refused: there is nothing of that name, or the spec has a wrong option.
    """
    for kind, catalogue in CATALOGUES.items():
        if name in catalogue.names():
            builder = catalogue.lookup(name)
            print(f"{kind} {name}\n\n{inspect.getdoc(builder)}\n\noptions:")
            print("\n".join(_options(option_parameters(builder).values())))
            return
    others = [other for catalogue in CATALOGUES.values() for other in catalogue.names()]
    base = name.partition(":")[0]
    if name.endswith(".py"):
        raise Refused(
            f"{name!r} is a file: give --config={name} for the keys of an experiment, or {name}:NAME for an attention "
            "that it registers."
        )
    if base in others:
        raise Refused(f"{base!r} takes no options here, and {name!r} gives some: `launch.py show {base}` lists them.")
    by_spec = [known for kind in KINDS for known in kind.catalogue.names()]
    if ".py:" not in name and base not in by_spec:
        raise Refused(f"there is nothing called {base!r}.{did_you_mean(base, [*by_spec, *others])}")
    kind_found = kind_of(name)
    if kind_found is VARIANTS:
        _print_variant(lookup(name))
    else:
        _print_chosen(kind_found, kind_found.choose(name))


def _print_chosen(kind: Kind, chosen: Chosen[Any]) -> None:
    _print_head(kind, chosen)
    arrays = chosen.made.arrays | getattr(getattr(chosen.made, "without_query", None), "arrays", {})
    print("\narrays:")
    print("\n".join(f"  {name} {in_words(one.axes)}" for name, one in arrays.items()) or "  none")
    _print_claims(chosen.spec, {claim: callable(value) or value for claim, value in vars(chosen.claims).items()})


def _print_head(kind: Kind, chosen: Chosen[Any] | Variant) -> None:
    print(f"{kind.name} {chosen.spec}\n\n{chosen.doc}\n\nsource: {chosen.source}\n\noptions:")
    lines = [f"  {key} = {value!r}  (default {default!r})" for key, (default, value) in chosen.options.items()]
    print("\n".join(lines) or "  none")


def _print_claims(spec: str, claims: Mapping[str, Any]) -> None:
    check = f"tested by launch.py check {spec}"
    print(f"\nclaims, {check if '.py:' in spec else 'each held by a test'}:")
    for claim, value in claims.items():
        if claim not in NOT_TOLD:
            print(f"  {claim}: {value}")


def _print_variant(variant: Variant) -> None:
    _print_head(VARIANTS, variant)
    print("\ninputs of each token, beside query, key and value:")
    print("\n".join(f"  {name} {one}" for name, one in variant.mechanism.inputs.items()) or "  none")
    _print_claims(variant.spec, vars(variant.claims))
    for limit in variant.claims.limits:
        print(f"  limit: {limit.spec} equals {limit.equals} within {limit.tolerance:g}")


def _options(parameters: Iterable[inspect.Parameter]) -> list[str]:
    return [
        f"  {parameter.name}"
        + (" (from the data)" if parameter.default is parameter.empty else f" = {parameter.default!r}")
        for parameter in parameters
    ]


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n")[0]


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    table.columns[0].no_wrap = True
    return table
