#!/usr/bin/env python3
"""The command line: parses, dispatches to attention_jax.commands, returns the exit code.

0 done, 1 the run failed, 2 the input was wrong, 128 + N stopped by signal N after saving.
"""

import argparse
import difflib
import sys
from typing import Any, NoReturn

KEYS = """\
Any key of a config is set with --config.a.b=VALUE, such as --config.model.attention=performer:features=64;
`show --config=FILE.py` prints every key."""
EPILOG = f"""{KEYS} Exit codes: 0 done, 1 the run failed, 2 the input was wrong, 128 + N stopped
by signal N (130 Ctrl-C, 143 SIGTERM) after saving: the same command goes on from there."""
EXPLAIN = """\
--shape is that of the query, B,T,N,H, and what differs for the keys by its letter: 1,4096,32,128,K=8. B sequences, T
queries, N heads, H wide; S keys (T where left out), K key heads (N), J key width (H), Hv value width (H). --mask joins
rules by & and |, & first, with parentheses: "causal & window(256) | global(4)". There is causal, window(n), global(n),
prefix_lm(n), padding(length,...), segments, blocks(size), dense; of the last three it counts that they are there."""


def option(metavar: str | None, text: str, **rest: Any) -> dict[str, Any]:
    """What argparse is told of an option; one without a metavar is on or off."""
    return {"help": text, **({"metavar": metavar} if metavar else {"action": "store_true"}), **rest}


CONFIG = option("FILE.py[:ARG]", "the experiment's config file")
RUN = {"--config": {**CONFIG, "required": True},
       "--workdir": option("DIR", "the folder of the run (default: runs/ and the config's name)")}  # fmt: skip
# Of each command: what it does, what its help ends with, its options.
COMMANDS: dict[str, tuple[str, str, dict[str, dict[str, Any]]]] = {
    "train": ("train one experiment, or go on where it was stopped", KEYS, RUN),
    "eval": ("the score of the last checkpoint of an experiment", KEYS, RUN),
    "compare": ("train every variant on every benchmark with every seed, and report", KEYS, {**RUN,
        "--variants": option("A,B", "attention variants; the first one is the reference"),
        "--seeds": option("0,1", "the seeds of each")}),
    "list": ("the attention variants, models, tasks, data sets and experiments there are", "", {}),
    "show": ("all that is known of one of them, or every key of a config", "", {
        "name": option("NAME", "an attention variant, model, task or data set", nargs="?"), "--config": CONFIG}),
    "explain": ("which engine would compute an attention, and why not another", EXPLAIN, {
        "variant": option("VARIANT", "such as scaled_dot, performer:features=64 or my_file.py:my_attention"),
        "--shape": option("B,T,N,H", "the sizes", required=True), "--mask": option("RULES", "who sees whom"),
        "--dtype": option("DTYPE", "float32 (default), bfloat16, float16 or float64", default="float32"),
        "--outputs": option("A,B", "default: out", default="out"), "--memory": option(None, "and the memory it needs"),
        "--positions": option("first|last", "where T queries stand among S keys, if they are fewer"),
        "--dropout": option("RATE", "of the weights", type=float, default=0.0),
        "--bias": option(None, "with a bias [N, T, S]"), "--score_mod": option(None, "with a score function")}),
    "check": ("hold an attention of your own to the contract: every test of tests/contract, in about a minute",
              "The exit code is 1 when one of them fails.", {
        "spec": option("FILE.py:FUNCTION", "or a variant"), "--only": option("A,B", "some, such as causality,masks")}),
    "bench": ("time and memory of the kernels beside their peers'; what is not installed is left out",
              "The peers: pip install -r requirements-bench.txt", {
        "what": option("attention", "what is measured"),
        "--workdir": option("DIR", "for samples and table (default: %(default)s)", default="runs/bench_attention"),
        "--only": option("A,B", "measures by name (default: all)"), "--list": option(None, "print the measures"),
        "--engine": option("NAME", "an engine for ours (default: the one that attend takes)"),
        **{f"--{name}": option("N", f"{text} (default: %(default)s)", type=int, default=default)
           for name, text, default in (("tokens", "T; long sequences are multiples of it", 4096), ("heads", "N", 8),
                                       ("width", "H", 64), ("batch", "B", 1), ("repeats", "rounds", 9))},
        "--run_longest": option("T", "also run forward and backward once at T tokens: hours", type=int)}),
    "prepare": ("prepare a data set of TFDS", "", {"name": option("NAME", "its name, such as fashion_mnist"),
        "--data_dir": option("DIR", "where prepared sets go (default: TFDS_DATA_DIR)"),
        "--manual_dir": option("DIR", "a folder that has the original files, to download nothing")}),
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, with the nearest right word, and exits with 2."""

    def error(self, message: str) -> NoReturn:
        """Prints the message and exits."""
        if "invalid choice" in message:
            word = message.split("'")[1]
            near = difflib.get_close_matches(word, COMMANDS, n=1)
            message = f"there is no command {word!r}." + (f" Did you mean {near[0]!r}?" if near else "")
        sys.stderr.write(f"error: {message}{'' if message[-1] in '.?' else '.'} See {self.prog} --help.\n")
        raise SystemExit(2)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the command with its options, and in `overrides` the config keys that are set, dotted key to text."""
    overrides: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word.startswith("--config."):
            key, equals, value = word.removeprefix("--config.").partition("=")
            overrides[key] = value if equals else next(words, "")
        else:
            rest.append(word)
    parser = Parser(prog="launch.py", description="Launch experiments, compare attention variants.", epilog=EPILOG,
                    formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for name, (summary, epilog, options) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary, epilog=epilog, allow_abbrev=False)
        for flag, settings in options.items():
            command.add_argument(flag, **settings)
    parsed = parser.parse_args(rest)
    if overrides and not getattr(parsed, "config", None):
        parser.error(f"--config.{next(iter(overrides))} is set, but there is no --config=FILE.py.")
    parsed.overrides = overrides
    return parsed


def main(arguments: list[str]) -> int:
    """Runs one command and returns the exit code."""
    parsed = parse(arguments)
    # Imported here, since it imports JAX: --help and usage errors answer at once.
    from attention_jax import commands

    return commands.run(parsed, arguments)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
