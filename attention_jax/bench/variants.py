"""Time and memory of every variant against the number of tokens: `launch.py bench attention --variants=all`.

Each variant runs forward and backward, causal where it has a causal form, by the engine that `attend` takes, in one
process. At each number of tokens all are compiled, and then take their turns in rounds.

`samples.jsonl` in the folder has a line for each sample and for each that is left out:

  {"variant", "family", "tokens", "engine", "round", "milliseconds", "temporary_bytes", "compile_seconds", "batch",
   "heads", "width", "device"}
  {"variant", "family", "tokens", "left_out"}
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.base.errors import Refused
from attention_jax.base.formatting import memory
from attention_jax.bench.cases import free_bytes
from attention_jax.bench.timing import timed
from attention_jax.kernels import attend, explain
from attention_jax.kernels.example import Example, example
from attention_jax.kernels.registry import lookup_kernel
from attention_jax.training import Progress
from attention_jax.training.run.workdir import write_atomically

# A variant that takes longer for one call is left out at more tokens.
LONGEST_SECONDS = 2.0


@dataclass(frozen=True)
class Shape:
    """What each variant is given.

    Attributes:
      batch: B.
      heads: N.
      width: H.
    """

    batch: int = 1
    heads: int = 8
    width: int = 64


@dataclass
class Prepared:
    """A variant compiled at one number of tokens.

    Attributes:
      about: what every line says of it.
      sample: takes one sample.
      seconds: that the first call took.
    """

    about: dict[str, Any]
    sample: Callable[[], dict[str, Any]]
    seconds: float


def run_variants(
    specs: Sequence[str], tokens: Sequence[int], shape: Shape, *, repeats: int, engine: str | None, workdir: Path
) -> None:
    """Measures variants, and writes samples.jsonl, table.md and plot.svg to a folder; prints the table.

    Args:
      specs: the variants.
      tokens: each T.
      shape: the other axes.
      repeats: rounds, in each of which every variant gives one sample.
      engine: by name, or None for the one that `attend` takes.
      workdir: the folder.

    Raises:
      Refused: a spec or a number is wrong, or the folder cannot be used.
    """
    families = {spec: lookup_kernel(spec).family for spec in specs}
    if min(tokens) < 1 or repeats < 1:
        raise Refused(f"--tokens={min(tokens)} and --repeats={repeats}: give at least 1 of each.")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / "samples.jsonl").open("a")
    except OSError as error:
        raise Refused(f"workdir {str(workdir)!r} cannot be used: {error.strerror}. Give another --workdir.") from error
    lines: list[dict[str, Any]] = []

    def write(line: dict[str, Any]) -> None:
        lines.append(line)
        file.write(json.dumps(line) + "\n")

    with file:
        _measure(families, tokens, shape, repeats=repeats, engine=engine, write=write)
    text = table(lines)
    write_atomically(workdir / "table.md", text)
    plot(lines, workdir / "plot.svg")
    print(text)
    print(f"every sample: {workdir / 'samples.jsonl'}\nthe plot: {workdir / 'plot.svg'}")


def _measure(
    families: dict[str, str],
    tokens: Sequence[int],
    shape: Shape,
    *,
    repeats: int,
    engine: str | None,
    write: Callable[[dict[str, Any]], None],
) -> None:
    """Takes the samples, from few tokens to many; a variant that is left out or slow at some is left out at more."""
    progress, left_out = Progress(), dict[str, str]()
    for count in sorted(set(tokens)):
        ready: list[Prepared] = []
        for spec, family in families.items():
            of_spec = {"variant": spec, "family": family, "tokens": count}
            progress.say(f"T = {count}: {spec}")
            try:
                if spec in left_out:
                    raise Refused(left_out[spec])
                ready.append(_prepared(of_spec, shape, engine))
            except Refused as reason:
                left_out[spec] = str(reason)
                write({**of_spec, "left_out": str(reason)})
        for number in range(repeats):
            for one in ready:
                write({**one.about, "round": number, "milliseconds": one.sample()["value"]})
        for one in ready:
            if one.seconds > LONGEST_SECONDS:
                left_out[one.about["variant"]] = (
                    f"a call took {one.seconds:.1f} s at {count} tokens, more than {LONGEST_SECONDS:g} s"
                )
        jax.clear_caches()


def _prepared(of_spec: dict[str, Any], shape: Shape, engine: str | None) -> Prepared:
    spec, tokens = of_spec["variant"], of_spec["tokens"]
    given = example(spec, batch=shape.batch, tokens=tokens, heads=shape.heads, width=shape.width)

    def total(trained: Any) -> Any:
        query, key, value, params, per_token = trained
        own = {**given.arguments, "params": params, "per_token": per_token, "engine": engine}
        return attend(query, key, value, **own).out.sum()

    trained = (given.query, given.key, given.value, given.params, given.per_token)
    taken = engine or _engine(given)
    started = time.perf_counter()
    compiled = jax.jit(jax.grad(total)).lower(trained).compile()
    compile_seconds = time.perf_counter() - started
    needed = compiled.memory_analysis()
    temporary = needed.temp_size_in_bytes if needed else None
    if jax.default_backend() == "cpu" and (temporary or 0) > free_bytes():
        raise Refused(f"it needs {memory(temporary or 0)} at {tokens} tokens, and {memory(free_bytes())} are free")
    started = time.perf_counter()
    gradient = jax.block_until_ready(compiled(trained))
    took = time.perf_counter() - started
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient)):
        raise Refused(f"its gradients at {tokens} tokens are not finite")
    about = {
        **of_spec,
        "engine": taken,
        "temporary_bytes": temporary,
        "compile_seconds": round(compile_seconds, 3),
        **vars(shape),
        "device": jax.devices()[0].device_kind,
    }
    return Prepared(about, timed(lambda: jax.block_until_ready(compiled(trained))), took)


def _engine(given: Example) -> str:
    """The engines that are taken, of a variant made of parts one for each of them."""
    candidates = explain(given.query, given.key, given.value, **given.arguments)
    return "+".join(dict.fromkeys(one.engine for one in candidates if one.taken))


def medians(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns one line for each variant and number of tokens that was measured: the median of its samples."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for line in lines:
        if "left_out" not in line:
            found.setdefault((line["variant"], line["tokens"]), []).append(line)
    return [
        {**of_one[0], "milliseconds": statistics.median(line["milliseconds"] for line in of_one)}
        for of_one in found.values()
    ]


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Returns the table: a line for each variant, the median time and the memory at each number of tokens."""
    of = {(line["variant"], line["tokens"]): line for line in medians(lines)}
    tokens = sorted({line["tokens"] for line in lines})
    specs = dict.fromkeys(line["variant"] for line in lines)
    rows = ["| variant | " + " | ".join(f"T = {count}" for count in tokens) + " |"]
    rows.append("|" + " --- |" + " ---: |" * len(tokens))
    for spec in specs:
        cells = [_cell(of.get((spec, count))) for count in tokens]
        rows.append(f"| `{spec}` | " + " | ".join(cells) + " |")
    reasons = {line["variant"]: line for line in lines if "left_out" in line}
    notes = [f"- `{spec}` from T = {line['tokens']} on: {line['left_out']}" for spec, line in reasons.items()]
    return "\n".join([*rows, "", *notes]).rstrip() + "\n"


def _cell(line: dict[str, Any] | None) -> str:
    return f"{line['milliseconds']:.3g} ms, {memory(line['temporary_bytes'] or 0)}" if line else ""


def plot(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes time and memory against the number of tokens, both axes by powers, a row for each family."""
    import altair as alt
    import vl_convert

    from attention_jax.study.report.overview import VEGA_LITE

    found = medians(lines)
    measures = {"milliseconds": "ms, forward and backward", "temporary_bytes": "bytes beside inputs and outputs"}
    tokens = sorted({line["tokens"] for line in found})
    # One scale in all rows, so that families are compared by eye.
    ends = {measure: [of(line[measure] or 1 for line in found) for of in (min, max)] for measure in measures}
    rows = []
    for family in dict.fromkeys(line["family"] for line in found):
        points = alt.Data(values=[line for line in found if line["family"] == family])
        charts = [
            alt.Chart(points)
            .mark_line(point=True)
            .encode(
                x=alt.X("tokens:Q", scale=alt.Scale(type="log", base=2), axis=alt.Axis(values=tokens), title="T"),
                y=alt.Y(f"{measure}:Q", scale=alt.Scale(type="log", domain=ends[measure]), title=title),
                color=alt.Color("variant:N", title=family),
            )
            .properties(width=330, height=240)
            for measure, title in measures.items()
        ]
        rows.append(alt.hconcat(*charts, spacing=40))
    picture = alt.vconcat(*rows).resolve_scale(color="independent").to_dict(validate=False)
    write_atomically(path, vl_convert.vegalite_to_svg({**picture, "background": "white"}, vl_version=VEGA_LITE))
