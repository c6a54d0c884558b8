"""The options that several commands share, and how a list of words is read."""

import argparse
import shlex

KEYS = """\
Any key of a config is set with --config.a.b=VALUE, such as --config.model.attention=performer:features=64;
`show --config=FILE.py` prints every key, as does `show --data=PATH` of an experiment that is made from your data."""


def add_config(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declares --config and --data, of which one is given; either also lets --config.KEY be set."""
    either = parser.add_mutually_exclusive_group(required=required)
    either.add_argument("--config", metavar="FILE.py[:ARG]", help="the experiment's config file")
    either.add_argument(
        "--data",
        metavar="PATH",
        help="your own data in place of a config: a CSV, TSV or JSON lines file of labelled texts, a folder of images "
        "with a sub-folder for each class, a text file, or tfds:NAME",
    )
    parser.add_argument("--text", metavar="COLUMN", help="of --data: the column of the texts (default: guessed)")
    parser.add_argument("--label", metavar="COLUMN", help="of --data: the column of the labels (default: guessed)")


def add_workdir(parser: argparse.ArgumentParser) -> None:
    """Declares --workdir of a command that has a --config."""
    parser.add_argument(
        "--workdir", metavar="DIR", help="the folder of the run (default: runs/ and the name of the config or data)"
    )


def add_log(parser: argparse.ArgumentParser) -> None:
    """Declares --log, a short form of keys of a config."""
    parser.add_argument("--log", metavar="wandb", help="log to Weights & Biases too: --config.log.wandb=true")


def add_hosts(parser: argparse.ArgumentParser) -> None:
    """Declares what joins several processes, one a host, to one run."""
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="of the first of several processes; docs/scale.md")
    parser.add_argument("--processes", metavar="N", help="how many there are", type=int)
    parser.add_argument("--process_id", metavar="I", help="which one this is, from 0", type=int)
    parser.add_argument(
        "--cluster", action="store_true", help="take all three from the environment (Slurm, a TPU pod ...)"
    )


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Declares what starts a command as a job."""
    add = parser.add_argument
    add("--launcher", metavar="slurm|local", help="submit it to Slurm, or detach it from this terminal, and return")
    add(
        "--job",
        metavar="KEY=VALUE ...",
        help="of --launcher=slurm: time=H:MM:SS, and nodes, gpus, cpus and mem (GB) of each, partition, account, qos, "
        "constraint, signal (seconds to save in)",
    )


def without(line: str, *options: str) -> str:
    """Returns a command line without some options, written as --NAME=VALUE or --NAME VALUE."""
    words = iter(shlex.split(line))
    kept = []
    for word in words:
        name, equals, _ = word.partition("=")
        if name not in options:
            kept.append(word)
        elif not equals:
            next(words, None)
    return shlex.join(kept)


def listed(text: str | None) -> list[str] | None:
    """Returns the words of "a, b"; None where none are given."""
    return None if text is None else [word.strip() for word in text.split(",")]


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Declares the processes of what trains many runs, and what runs again."""
    add = parser.add_argument
    add("--workers", metavar="N", type=int, help="processes that train (default: one a core or device; 0: this one)")
    add("--devices_per_cell", metavar="N", type=int, default=1, help="devices that each run's mesh takes (default: 1)")
    add(
        "--members",
        metavar="N",
        type=int,
        default=1,
        help="train up to N runs that differ in seed and learning rate only as one program; for accelerators",
    )
    add("--retry", metavar="failed|refused", help="run those again that ended so")


def add_study(parser: argparse.ArgumentParser) -> None:
    """Declares what a study has: its processes, what runs again, where results are kept."""
    add_workers(parser)
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="a database in place of the folder's study.db, for several hosts: postgresql+psycopg://USER@HOST/DATABASE",
    )
    add_log(parser)
    add_launcher(parser)
