"""The words of the command line: every command with what it does, what its help ends with and its options, as data.

`launch.py` parses by it. Nothing here imports JAX, so that --help and usage errors answer at once.
"""

import argparse
from typing import Any

from attention_jax.cli import sweep

KEYS = """\
Any key of a config is set with --config.a.b=VALUE, such as --config.model.attention=performer:features=64;
`show --config=FILE.py` prints every key."""
EXPLAIN = """\
--shape is that of the query, B,T,N,H, and what differs for the keys by its letter: 1,4096,32,128,K=8. B sequences, T
queries, N heads, H wide; S keys (T where left out), K key heads (N), J key width (H), Hv value width (H). --mask joins
rules by & and |, & first, with parentheses: "causal & window(256) | global(4)". There is causal, window(n), global(n),
prefix_lm(n), padding(length,...), segments, blocks(size), dense; of the last three it counts that they are there."""


def option(metavar: str | None, text: str, **rest: Any) -> dict[str, Any]:
    """What argparse is told of an option; one without a metavar is on or off."""
    return {"help": text, **({"metavar": metavar} if metavar else {"action": "store_true"}), **rest}


def _options(declare: Any) -> dict[str, dict[str, Any]]:
    """The options that a file of `attention_jax.cli` declares, as those of the others are told."""
    parser = argparse.ArgumentParser(add_help=False)
    declare(parser)
    kept = ("help", "metavar", "type", "required", "default")
    return {action.option_strings[0]: {name: getattr(action, name) for name in kept} for action in parser._actions}


CONFIG = option("FILE.py[:ARG]", "the experiment's config file")
RUN = {"--config": {**CONFIG, "required": True},
       "--workdir": option("DIR", "the folder of the run (default: runs/ and the config's name)")}  # fmt: skip
# Several processes, one a host, as one run.
HOSTS = {"--coordinator": option("HOST:PORT", "of the first of several processes; docs/scale.md"),
         "--processes": option("N", "how many there are", type=int),
         "--process_id": option("I", "which one this is, from 0", type=int),
         "--cluster": option(None, "take all three from the environment (Slurm, a TPU pod ...)")}  # fmt: skip
# Of every command that trains many runs.
STUDY = {"--workers": option("N", "processes that train (default: one a core or device; 0: this one)", type=int),
         "--retry": option("failed|refused", "run those again that ended so"),
         "--storage": option("URL", "a database in place of the folder's study.db, for several hosts:"
                             " postgresql+psycopg://USER@HOST/DATABASE")}  # fmt: skip
# Of each command: what it does, what its help ends with, its options.
COMMANDS: dict[str, tuple[str, str, dict[str, dict[str, Any]]]] = {
    "train": ("train one experiment, or go on where it was stopped", KEYS, {**RUN, **HOSTS,
        "--profile": option("FIRST:END", "trace these steps, counted from 1, END not among them: 10:15")}),
    "eval": ("the score of a checkpoint of an experiment", KEYS, {**RUN, **HOSTS,
        "--checkpoint": option("best|last|STEP", "which one (default: %(default)s)", default="last")}),
    "compare": ("train every variant on every benchmark with every seed, and report", KEYS, {**RUN, **STUDY,
        "--variants": option("A,B", "attention variants; the first one is the reference"),
        "--seeds": option("0,1", "the seeds of each")}),
    "sweep": (sweep.SUMMARY, sweep.EPILOG, _options(sweep.add_arguments)),
    "status": ("where a comparison is, from anywhere, also while it runs", "It reads and disturbs nothing.", {
        "workdir": option("DIR", "the folder of the comparison")}),
    "shard": ("where the parameters lie on the mesh, the memory of a device and the collectives of a step",
              "The step is compiled and nothing is allocated.\n" + KEYS, {"--config": RUN["--config"],
        "--devices": option("N", "compile for N CPU devices in place of those there are", type=int)}),
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
    "bench": ("kernels or training steps beside their peers: time, memory; what is not installed is left out",
              "The peers: pip install -r requirements-bench.txt", {
        "what": option("attention|step", "what is measured"),
        "--workdir": option("DIR", "for samples and table (default: runs/bench_attention or runs/bench_step)"),
        "--only": option("A,B", "measures by name (default: all)"), "--list": option(None, "print the measures"),
        "--engine": option("NAME", "attention: an engine for ours (default: the one that attend takes)"),
        **{f"--{name}": option("N", f"{text} (default: {of_attention}; of a step {of_step})", type=int)
           for name, text, of_attention, of_step in (
               ("tokens", "T; long sequences are multiples of it", 4096, 64), ("heads", "N", 8, 4),
               ("width", "of a head; of a step, the model's", 64, 128), ("batch", "B", 1, 12))},
        "--layers": option("N", "step: blocks (default: 4)", type=int),
        "--repeats": option("N", "rounds (default: %(default)s)", type=int, default=9),
        "--run_longest": option("T", "attention: also run forward and backward once at T tokens: hours", type=int)}),
    "prepare": ("prepare a data set of TFDS", "", {"name": option("NAME", "its name, such as fashion_mnist"),
        "--data_dir": option("DIR", "where prepared sets go (default: TFDS_DATA_DIR)"),
        "--manual_dir": option("DIR", "a folder that has the original files, to download nothing")}),
}  # fmt: skip
