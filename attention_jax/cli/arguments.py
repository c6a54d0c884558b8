"""The options that several commands share, and how a list of words is read."""

import argparse

KEYS = """\
Any key of a config is set with --config.a.b=VALUE, such as --config.model.attention=performer:features=64;
`show --config=FILE.py` prints every key."""


def add_config(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declares --config, which also lets --config.KEY be set."""
    parser.add_argument("--config", metavar="FILE.py[:ARG]", help="the experiment's config file", required=required)


def add_workdir(parser: argparse.ArgumentParser) -> None:
    """Declares --workdir of a command that has a --config."""
    parser.add_argument("--workdir", metavar="DIR", help="the folder of the run (default: runs/ and the config's name)")


def add_hosts(parser: argparse.ArgumentParser) -> None:
    """Declares what joins several processes, one a host, to one run."""
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="of the first of several processes; docs/scale.md")
    parser.add_argument("--processes", metavar="N", help="how many there are", type=int)
    parser.add_argument("--process_id", metavar="I", help="which one this is, from 0", type=int)
    parser.add_argument(
        "--cluster", action="store_true", help="take all three from the environment (Slurm, a TPU pod ...)"
    )


def listed(text: str | None) -> list[str] | None:
    """Returns the words of "a, b"; None where none are given."""
    return None if text is None else [word.strip() for word in text.split(",")]


def add_study(parser: argparse.ArgumentParser) -> None:
    """Declares what every command that trains many runs has: its processes, what runs again, where results are kept."""
    add = parser.add_argument
    add("--workers", metavar="N", type=int, help="processes that train (default: one a core or device; 0: this one)")
    add(
        "--members",
        metavar="N",
        type=int,
        default=1,
        help="train up to N runs that differ in seed and learning rate only as one program; for accelerators",
    )
    add("--retry", metavar="failed|refused", help="run those again that ended so")
    add(
        "--storage",
        metavar="URL",
        help="a database in place of the folder's study.db, for several hosts: postgresql+psycopg://USER@HOST/DATABASE",
    )
