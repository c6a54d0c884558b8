"""The attention variants by name: what each claims, where it comes from, and the spec strings that choose one.

A spec is a name with options, "performer:features=256,seed=1", or a file of the user's own with the name of a variant
that it registers, "my_file.py:my_attention:window=8".
"""

import ast
import functools
import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused
from attention_jax.base.options import check_options, check_types
from attention_jax.base.python_file import load_python_file
from attention_jax.kernels.arrays import Params, Sizes
from attention_jax.kernels.mechanism import Mechanism


@dataclass(frozen=True)
class Source:
    """Where a mechanism was published.

    Attributes:
      title: of the paper.
      equation: the equation or section that defines it.
      authors: "Surname, Given names and Surname, Given names", or the name of a group; "" where there is no paper.
      year: of the first version.
      venue: where it appeared, such as "ICML 2020"; None for a preprint.
      arxiv: the arXiv number, where there is one.
    """

    title: str
    equation: str
    authors: str = ""
    year: int | None = None
    venue: str | None = None
    arxiv: str | None = None

    def __str__(self) -> str:
        who = [f"{_cited(self.authors)} {self.year}"] if self.authors else []
        number = [f"arXiv {self.arxiv}"] if self.arxiv else []
        return ", ".join([*who, self.title, *number, self.equation])

    @property
    def bibtex(self) -> str:
        """An entry for a bibliography; "" where nobody has published it."""
        if not self.authors:
            return ""
        first, word = self.authors.partition(",")[0], self.title.split()[0]
        name = "".join(filter(str.isalnum, f"{first}{self.year}{word}".lower()))
        # A group's name stands in braces, or it would be taken for given names and a surname.
        authors = self.authors if "," in self.authors else f"{{{self.authors}}}"
        fields = {"title": f"{{{self.title}}}", "author": authors, "year": str(self.year)}
        if self.arxiv:
            fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv"}
        fields["note"] = ", ".join(filter(None, (self.venue, self.equation)))
        lines = ",\n".join(f"  {field} = {{{value}}}" for field, value in fields.items())
        return f"@misc{{{name},\n{lines}\n}}"


def _cited(authors: str) -> str:
    surnames = [author.partition(",")[0] for author in authors.split(" and ")]
    if len(surnames) > 3:
        return f"{surnames[0]} et al."
    return " & ".join(filter(None, (", ".join(surnames[:-1]), surnames[-1])))


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
      convex: the weights of a query are not negative and sum to 1.
      heads_apart: no query head has to do with another.
      rows_apart: no query has to do with another.
      aux: the names of what it reports in `aux`.
      masks: the kinds of mask that it takes, joined by &, by the names of their classes; None for all.
      state: it continues from a state, in the form of a recurrence.
      steps: it continues from the state that earlier queries left, the keys being whole (an alignment).
      memory: how the memory of forward and backward grows with the number of tokens.
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
    convex: bool = True
    heads_apart: bool = True
    rows_apart: bool = True
    aux: tuple[str, ...] = ()
    masks: tuple[str, ...] | None = None
    state: bool = False
    steps: bool = False
    memory: Literal["quadratic", "linear"] = "linear"
    limits: tuple[Limit, ...] = ()
    tried: str | None = None
    fewest_keys: int = 1


@dataclass(frozen=True, eq=False)
class Variant:
    """A mechanism with its options chosen.

    Attributes:
      spec: the string that chose it.
      name: its registered name.
      mechanism: what the engines run.
      claims: what it says of itself.
      source: where it was published.
      doc: its description.
      options: name to (default, chosen value) of every option.
      family: the room that its file is in, such as "linear"; of a user's own file its name.
    """

    spec: str
    name: str
    mechanism: Mechanism
    claims: Claims
    source: Source
    doc: str
    options: dict[str, tuple[Any, Any]]
    family: str


@dataclass(frozen=True)
class _Definition:
    """What `register` keeps of a variant's function."""

    build: Callable[..., Mechanism]
    source: Source
    claims: Claims


_FILE_MODULE = "attention_file_"
_catalogue: Catalogue = Catalogue("attention variant", "attention_jax.kernels.variants")


def register(*, source: Source, claims: Claims) -> Callable[[Callable[..., Mechanism]], Callable[..., Mechanism]]:
    """Registers the decorated function as the variant of its name.

    The function takes the variant's options as keyword arguments, each with a type and a default, and returns the
    `Mechanism`; its docstring is what `launch.py show NAME` prints.

    Args:
      source: where the mechanism was published.
      claims: what it says of itself; the contract tests hold it to every line.

    Raises:
      Refused: another variant has the name.
    """

    def decorate(build: Callable[..., Mechanism]) -> Callable[..., Mechanism]:
        vars(build)["definition"] = _Definition(build, source, claims)
        # Files of the user's own are found by their paths, so two of them may use one name.
        return build if build.__module__.startswith(_FILE_MODULE) else _catalogue.register(build)

    return decorate


def names() -> list[str]:
    """Returns the name of every registered variant, sorted."""
    return _catalogue.names()


@functools.lru_cache(maxsize=1024)
def lookup(spec: str) -> Variant:
    """Returns the variant that `spec` chooses.

    Args:
      spec: such as "scaled_dot", "performer:features=256" or "my_file.py:my_attention".

    Raises:
      Refused: the name, an option or a value is wrong; the message gives the nearest right name.
    """
    name, options = parse_spec(spec)
    if ".py:" in name:
        path, _, name = name.rpartition(":")
        builder = _from_file(Path(path), name)
    else:
        builder = _catalogue.lookup(name)
    definition: _Definition = vars(builder)["definition"]
    check_options(builder, options, owner=f"variant {name!r}")
    check_types(builder, options, owner=f"variant {name!r}")
    defaults = {key: parameter.default for key, parameter in inspect.signature(builder).parameters.items()}
    return Variant(
        spec=spec,
        name=name,
        mechanism=definition.build(**options),
        claims=definition.claims,
        source=definition.source,
        doc=inspect.getdoc(builder) or "",
        options={key: (default, options.get(key, default)) for key, default in defaults.items()},
        family=_family(spec, builder),
    )


def _family(spec: str, builder: Callable[..., Mechanism]) -> str:
    file, in_file, _ = spec.partition(".py:")
    return f"{Path(file).name}.py" if in_file else builder.__module__.split(".")[-2]


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Splits a spec into the name, with its file where it has one, and the options as Python values.

    Raises:
      Refused: it is not of the form NAME:option=value,option=value.
    """
    form = f"attention {spec!r} is not of the form NAME or NAME:option=value,option=value"
    if not isinstance(spec, str) or not spec.strip():
        raise Refused(f"{form}: give a name, such as 'scaled_dot'.")
    head, given = spec.strip(), ""
    path, in_file, rest = head.partition(".py:")
    name, _, given = (rest if in_file else path).partition(":")
    options: dict[str, Any] = {}
    for piece in filter(None, given.split(",")):
        key, equals, value = piece.partition("=")
        if not equals or not key.strip().isidentifier():
            raise Refused(f"{form}: {piece!r} is not an option with its value.")
        if key.strip() in options:
            raise Refused(f"{form}: {key.strip()!r} is given twice.")
        options[key.strip()] = _literal(value.strip())
    return (f"{path}.py:{name}" if in_file else name), options


def split_specs(text: str) -> list[str]:
    """Splits "linear,performer:features=64,seed=1,uniform" into three specs: option=value goes on with its spec."""
    specs: list[str] = []
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        if specs and "=" in piece and ":" not in piece.partition("=")[0]:
            specs[-1] += f",{piece}"
        else:
            specs.append(piece)
    return specs


def _literal(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _from_file(path: Path, name: str) -> Callable[..., Mechanism]:
    if not path.is_file():
        raise Refused(f"attention file {str(path)!r} does not exist: give a Python file that registers {name!r}.")
    module_name = f"{_FILE_MODULE}{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if module_name not in sys.modules:
        _catalogue.names()  # The library's own names come first: a file cannot take one of them.
        load_python_file(path, kind="attention file", module=module_name)
    builder = getattr(sys.modules[module_name], name, None)
    if builder is None or not hasattr(builder, "definition"):
        registered = [key for key, value in vars(sys.modules[module_name]).items() if hasattr(value, "definition")]
        raise Refused(f"{path} registers no attention {name!r}; it registers: {', '.join(registered) or 'none'}.")
    return builder
