"""`launch.py reproduce`."""

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attention_jax.base.errors import Refused
from attention_jax.cli import arguments, running

if TYPE_CHECKING:
    from attention_jax.study.reproduction.rows import Row
    from attention_jax.study.reproduction.run import Places

SUMMARY = "run what has no result yet, or some results again; write the table and say what came out"
EPILOG = """\
A NAME is that of a row of `reproduce --list`, or a FILE.py that declares RESULTS; those that are named run whatever
results there are. Runs lie in the folder that ATTENTION_JAX_RUNS names (by default attention_jax/runs in the user's
cache folder) and go on from their checkpoints after any stop. Exit code 1: a score is not as expected, or a run
failed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    add = parser.add_argument
    add("names", metavar="NAME", nargs="*", help="what to run (default: what has no result, or a stale one)")
    add("--seeds", metavar="0,1", help="the seeds of each, in place of those that it declares")
    add("--list", action="store_true", help="show where each row stands, and run nothing")
    add("--table", action="store_true", help="write the table anew, and run nothing")
    add("--experiments", metavar="DIR", default="experiments", help="the folder of config files (default: %(default)s)")
    add("--results", metavar="DIR", help="the folder of raw lines, the table beside it (default: docs/results)")
    arguments.add_workers(parser)


def run(options: argparse.Namespace, line: str) -> int:
    """Runs what is missing, and prints what came out."""
    return running.run_on_devices(_reproduce, options, line)


def _reproduce(options: argparse.Namespace, line: str) -> int:
    from attention_jax.study.compare import read_seeds
    from attention_jax.study.engine.run import prepare_process
    from attention_jax.study.reproduction.rows import declarations, find_rows, name_of
    from attention_jax.study.reproduction.run import Reproducer, chosen, places

    where = places(options.results)
    runs_nothing = options.list or options.table
    if not runs_nothing:
        prepare_process(options.workers, where.cells)
    files = [name for name in options.names if name.endswith(".py")]
    rows = find_rows(Path(options.experiments), files)
    names = [name for name in options.names if name not in files]
    for file in map(Path, files):
        declared = declarations(file)
        if not declared:
            raise Refused(f"{file} declares no RESULTS: see attention_jax/study/reproduction/declaration.py.")
        names += [name_of(file, one) for one in declared]
    wanted = chosen(rows, names)
    if options.list:
        _print_list(wanted, where)
        return 0
    if options.table:
        where.write_table(rows)
        print(where.table)
        return 0
    seeds = None if options.seeds is None else read_seeds(options.seeds.split(","))
    if seeds is not None and len(set(seeds)) < len(seeds):
        raise Refused(f"seeds={options.seeds}: give each once.")
    reproducer = Reproducer(rows, where, workers=options.workers, retry=options.retry)
    able, left_out = _apart(wanted, asked=names, seeds=seeds)
    found = reproducer.run(able, asked=names, seeds=seeds, notes=left_out)
    for standing in found:
        print(standing.verdict())
    print(where.table)
    for status in sorted({line.status for standing in found for line in standing.failed.values()} - {"done"}):
        print(f"with --retry={status} the same command runs those again that are {status}.", file=sys.stderr)
    return 1 if any(standing.state in ("failed", "not reproduced") for standing in found) else 0


def _apart(
    rows: Sequence["Row"], *, asked: Collection[str], seeds: Sequence[int] | None
) -> tuple[list["Row"], list[str]]:
    """Returns the rows that can run here, and a line on each other one.

    Raises:
      Refused: one that cannot was asked for by name.
    """
    able, left_out = [], []
    for row in rows:
        try:
            if row.sweep is not None and seeds is not None:
                raise Refused(f"{row.name}: a sweep runs the fresh seeds of its config: leave out --seeds.")
            row.check_data()
            able.append(row)
        except Refused as refusal:
            if row.name in asked:
                raise
            left_out.append(f"left out: {refusal}")
    return able, left_out


def _print_list(rows: Sequence["Row"], where: "Places") -> None:
    from rich.console import Console
    from rich.table import Table

    from attention_jax.base.formatting import readable_seconds
    from attention_jax.study.reproduction.standing import standings
    from attention_jax.study.reproduction.table import seconds_left, state_of

    table = Table("row", "system", "where it stands", "left to run", box=None, header_style="bold", pad_edge=False)
    table.columns[0].no_wrap = True
    lines = where.lines(rows)
    missing = []
    for row in rows:
        found = standings(row, lines[row.name])
        left = seconds_left(row, found)
        state = state_of(found)
        try:
            row.check_data()
        except Refused as refusal:
            missing.append(str(refusal))
            state += "; its data are missing"
        table.add_row(row.name, row.declared.system, state, readable_seconds(left) if left else "-")
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)
    for said in missing:
        print(said, file=sys.stderr)
