"""`launch.py bench`."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from attention_jax.base.errors import Refused
from attention_jax.cli import arguments

if TYPE_CHECKING:
    from attention_jax.bench.run import AnySettings

SUMMARY = "kernels, training steps or decoding beside their peers: time, memory; what is not installed is left out"
EPILOG = "The peers: pip install -r requirements-bench.txt"
# The sizes that both have: the letter or what it is of, and the defaults of attention and of a step.
SIZES = {
    "tokens": ("T; long sequences are multiples of it", 4096, 64),
    "heads": ("N", 8, 4),
    "width": ("of a head; of a step, the model's", 64, 128),
    "batch": ("B", 1, 12),
}
# Of --variants.
TOKENS = (64, 256, 1024, 4096)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    add = parser.add_argument
    add("what", metavar="attention|step|decode", help="what is measured")
    add("--workdir", metavar="DIR", help="for samples and table (default: runs/bench_WHAT)")
    add("--only", metavar="A,B", help="measures by name (default: all)")
    add("--list", action="store_true", help="print the measures")
    add("--engine", metavar="NAME", help="attention: an engine for ours (default: the one that attend takes)")
    add(
        "--variants",
        metavar="A,B|all",
        help="attention: these against the number of tokens, --tokens=64,256 or so, in place of the measures",
    )
    for name, (what, of_attention, of_step) in SIZES.items():
        kind = _numbers if name == "tokens" else int
        add(f"--{name}", metavar="N", help=f"{what} (default: {of_attention}; of a step {of_step})", type=kind)
    add("--layers", metavar="N", help="step: blocks (default: 4)", type=int)
    add("--new_tokens", metavar="N", help="decode: after a prompt of --tokens, by default 64 (default: 128)", type=int)
    add("--repeats", metavar="N", help="rounds (default: %(default)s)", type=int, default=9)
    add(
        "--run_longest",
        metavar="T",
        help="attention: also run forward and backward once at T tokens: hours",
        type=int,
    )


def run(options: argparse.Namespace, line: str) -> int:
    """Measures, and prints and writes the table."""
    from attention_jax.bench.run import print_measures, run_bench
    from attention_jax.kernels.supported import check_jax

    if options.variants:
        return _run_variants(options)
    settings = _settings(options)
    if options.list:
        print_measures(settings.kind)
        return 0
    check_jax()
    workdir = Path(options.workdir or f"runs/bench_{options.what}")
    failed = run_bench(settings, names=arguments.listed(options.only), repeats=options.repeats, workdir=workdir)
    if failed:
        print(f"{failed} comparisons failed, for the reasons beneath the table.", file=sys.stderr)
    return 1 if failed else 0


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _run_variants(options: argparse.Namespace) -> int:
    """Measures variants against the number of tokens."""
    from attention_jax.bench.variants import Shape, run_variants
    from attention_jax.kernels import names
    from attention_jax.kernels.specs import split_specs
    from attention_jax.kernels.supported import check_jax

    if options.what != "attention":
        raise Refused(f"--variants is not an option of bench {options.what}: leave it out.")
    for name in ("only", "layers", "run_longest"):
        if getattr(options, name) is not None:
            raise Refused(f"--{name} is not an option beside --variants: leave it out.")
    check_jax()
    given = {name: value for name in ("batch", "heads", "width") if (value := getattr(options, name)) is not None}
    run_variants(
        names() if options.variants == "all" else split_specs(options.variants),
        options.tokens or TOKENS,
        Shape(**given),
        repeats=options.repeats,
        engine=options.engine,
        workdir=Path(options.workdir or "runs/bench_variants"),
    )
    return 0


def _settings(options: argparse.Namespace) -> "AnySettings":
    from attention_jax.bench.decodes import DecodeSettings
    from attention_jax.bench.measures import Settings
    from attention_jax.bench.steps import StepSettings

    benches: dict[str, type[AnySettings]] = {"attention": Settings, "step": StepSettings, "decode": DecodeSettings}
    if options.what not in benches:
        raise Refused(f"there is no bench {options.what!r}: try bench {' or bench '.join(benches)}.")
    known = {what: [field.name for field in dataclasses.fields(bench)] for what, bench in benches.items()}
    every = {name for names in known.values() for name in names}
    given = {name: value for name in every if (value := getattr(options, name)) is not None}
    if len(given.get("tokens", [0])) > 1:
        raise Refused("--tokens takes several numbers beside --variants alone: give one, or --variants=all.")
    given |= {"tokens": given["tokens"][0]} if "tokens" in given else {}
    for name in sorted(given.keys() - known[options.what]):
        raise Refused(f"--{name} is not an option of bench {options.what}: leave it out.")
    return benches[options.what](**given)
