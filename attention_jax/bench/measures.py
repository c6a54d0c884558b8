"""The measures of `launch.py bench attention`: one entry of one table each, and adding one edits nothing else."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

from attention_jax.bench.cases import Case, Kind, Measured

GIB = 2**30
BUDGET = 24
MASKS = {"causal": True, "full": False}
PASSES = {"forward": False, "forward + backward": True}

Ratio = Literal["speed", "time", "bytes"]
Told = Literal["mean", "fastest"]


@dataclass(frozen=True)
class Settings:
    """What the command line chooses.

    Attributes:
      batch: B.
      tokens: T; the measures of long sequences take multiples of it.
      heads: N.
      width: H.
      engine: an engine of this library by name, or None for the one that it takes.
      run_longest: a number of tokens to run forward and backward once, or None.
    """

    kind: ClassVar[Kind] = "attention"
    smallest: ClassVar[dict[str, int]] = {"tokens": 16, "heads": 1, "width": 1, "batch": 1, "run_longest": 1}

    batch: int = 1
    tokens: int = 4096
    heads: int = 8
    width: int = 64
    engine: str | None = None
    run_longest: int | None = None

    @property
    def sizes(self) -> str:
        """The sizes in words."""
        return f"B{self.batch} N{self.heads} H{self.width} unless a line says otherwise"

    def case(self, **changes: object) -> Case:
        """Returns our own case, causal and on one device unless `changes` say otherwise."""
        sizes = {"batch": self.batch, "tokens": self.tokens, "heads": self.heads, "width": self.width}
        ours = {"who": "attention_jax", "process": "one_device", "engine": self.engine}
        return Case(**{**sizes, **ours, **changes})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Bound:
    """A number to compare with that is not measured.

    Attributes:
      name: what it is.
      value: in the unit of the quantity.
    """

    name: str
    value: float


@dataclass(frozen=True)
class Comparison:
    """One case of ours beside others, measured in turn.

    Attributes:
      what: what is computed.
      ratio: what the table says of ours and another: its speed (theirs over ours), or its time or bytes (ours over
        theirs).
      ours: the case.
      peers: the others by name.
      bound: what ours is compared with beside them, or None.
      reference: a case that the result must equal, where the peers compute another function; None when they compute
        the same.
      tokens: whether results are tokens, the same or not: then ones that differ are told and timed all the same.
    """

    what: str
    ratio: Ratio
    ours: Measured
    peers: Mapping[str, Measured]
    bound: Bound | None = None
    reference: Measured | None = None
    tokens: bool = False


@dataclass(frozen=True)
class Measure:
    """An entry of the table.

    Attributes:
      name: how --only calls it.
      what: in words.
      build: makes its comparisons.
      together: what is told of all its ratios: their mean, or those to the fastest peer of each comparison.
    """

    name: str
    what: str
    build: Callable[[Any], Iterator[Comparison]]
    together: Told | None = None


def _side_by_side(settings: Settings, *, process: str, peers: dict[str, str], where: str) -> Iterator[Comparison]:
    for pass_name, backward in PASSES.items():
        for mask_name, causal in MASKS.items():
            ours = settings.case(process=process, backward=backward, causal=causal)
            yield Comparison(
                what=f"{pass_name}, {mask_name}, T={settings.tokens}, {where}",
                ratio="speed",
                ours=ours,
                peers={name: replace(ours, who=name, process=at, engine=None) for name, at in peers.items()},  # type: ignore[arg-type]
            )


def _short(settings: Settings) -> Iterator[Comparison]:
    """The sequences of most experiments, in the shape of the models of experiments/."""
    for tokens in (8, 16, 32, 64, 128, 256):
        for kind, mask in {
            "causal": {},
            "full": {"causal": False},
            "padded": {"causal": False, "padded": True},
        }.items():
            for pass_name, backward in PASSES.items():
                ours = settings.case(batch=8, heads=4, width=32, tokens=tokens, backward=backward, **mask)
                yield Comparison(
                    what=f"{pass_name}, {kind}, T={tokens}, B8 N4 H32, one device each",
                    ratio="speed",
                    ours=ours,
                    peers={"jax.nn": replace(ours, who="jax.nn", engine=None)},
                )


def _memory(settings: Settings) -> Iterator[Comparison]:
    for tokens in (settings.tokens, 4 * settings.tokens, 16 * settings.tokens):
        ours = settings.case(quantity="temporary", backward=True, tokens=tokens)
        yield Comparison(
            what=f"temporary memory, forward + backward, causal, T={tokens}",
            ratio="bytes",
            ours=ours,
            peers={name: replace(ours, who=name, engine=None) for name in ("jax.nn", "tokamax")},
            bound=Bound("q, k, v, out and their gradients", ours.array_bytes),
        )


def _longest(settings: Settings) -> Iterator[Comparison]:
    bound = Bound(f"{BUDGET} GiB", BUDGET * GIB)
    for tokens in (64 * settings.tokens, 256 * settings.tokens):
        ours = settings.case(quantity="total", backward=True, tokens=tokens)
        what = f"all memory, one layer forward + backward, causal, T={tokens}, as compiled"
        yield Comparison(what=what, ratio="bytes", ours=ours, peers={}, bound=bound)
    if settings.run_longest is not None:
        ours = settings.case(quantity="peak", backward=True, tokens=settings.run_longest)
        what = f"peak memory of the process, one layer forward + backward, causal, T={settings.run_longest}, run once"
        yield Comparison(what=what, ratio="bytes", ours=ours, peers={}, bound=bound)


def _linear(settings: Settings) -> Iterator[Comparison]:
    tokens, heads = 4 * settings.tokens, min(2, settings.heads)
    for pass_name, backward in PASSES.items():
        ours = settings.case(variant="linear", engine=None, backward=backward, tokens=tokens, heads=heads)
        yield _beside_another_function(
            f"linear attention, {pass_name}, causal, T={tokens}, {heads} heads (dense softmax holds T x T a head)",
            ours,
            {"dense softmax, jax.nn": replace(ours, who="jax.nn", variant="scaled_dot")},
        )


def _window(settings: Settings) -> Iterator[Comparison]:
    tokens, window = 4 * settings.tokens, settings.tokens // 16
    for pass_name, backward in PASSES.items():
        ours = settings.case(window=window, backward=backward, tokens=tokens)
        what = f"window of {window}, {pass_name}, causal, T={tokens}"
        yield _beside_another_function(what, ours, {"attention_jax, full causal": replace(ours, window=None)})


def _beside_another_function(what: str, ours: Case, peers: dict[str, Case]) -> Comparison:
    """Ours must equal, in its first tokens, those tokens alone in the engine that forms every weight."""
    first = min(ours.tokens, max(256, 2 * (ours.window or 0)))
    return Comparison(
        what=what,
        ratio="speed",
        ours=replace(ours, compared=first),
        peers=peers,
        reference=replace(ours, tokens=first, engine="dense"),
    )


def _decode(settings: Settings) -> Iterator[Comparison]:
    whole = settings.case(compared=-1)
    yield Comparison(
        what=f"one more token after {settings.tokens - 1} in a cache",
        ratio="speed",
        ours=replace(whole, quantity="step"),
        peers={
            "attention_jax, all again": whole,
            "jax.nn, all again": replace(whole, who="jax.nn", engine=None),
        },
    )


def _delta(settings: Settings) -> Iterator[Comparison]:
    for pass_name, backward in PASSES.items():
        ours = settings.case(who="delta rule", engine=None, backward=backward)
        yield Comparison(
            what=f"systems of the delta rule, 64 tokens each, {pass_name}, T={settings.tokens}",
            ratio="speed",
            ours=ours,
            peers={"LAPACK": replace(ours, who="LAPACK")},
        )


def _compile(settings: Settings) -> Iterator[Comparison]:
    ours = settings.case(quantity="compile", backward=True)
    yield Comparison(
        what=f"compile time, forward + backward, causal, T={settings.tokens}",
        ratio="time",
        ours=ours,
        peers={name: replace(ours, who=name, engine=None) for name in ("jax.nn", "tokamax")},
    )


MEASURES = (
    Measure(
        "one_device",
        "time on one XLA device each, against jax.nn, tokamax (xla_chunked) and flax.nnx",
        partial(
            _side_by_side,
            process="one_device",
            peers=dict.fromkeys(("jax.nn", "tokamax", "flax.nnx"), "one_device"),
            where="one device each",
        ),
    ),
    Measure(
        "all_cores",
        "time with all cores each, one XLA device a core and the heads sharded over them, against PyTorch",
        partial(_side_by_side, process="all_cores", peers={"torch": "torch"}, where="all cores each"),
    ),
    Measure(
        "short",
        "time at 8 to 256 tokens, causal, full and padded, B8 N4 H32, on one XLA device each, against jax.nn",
        _short,
        together="mean",
    ),
    Measure("memory", "temporary memory of forward + backward at T, 4T and 16T, from the compiled program", _memory),
    Measure("longest", "all memory of forward + backward at 64T and 256T, beside 24 GiB", _longest),
    Measure("linear", "causal linear attention against dense softmax at 4T", _linear),
    Measure("window", "a window of T/16 against full causal attention at 4T", _window),
    Measure("decode", "one token at cache length T against attending to all tokens again", _decode),
    Measure("delta", "the triangular systems of the delta rule against LAPACK", _delta),
    Measure("compile", "compile time of forward + backward, against jax.nn and tokamax", _compile),
)
