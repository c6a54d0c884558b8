"""`launch.py status`."""

import argparse
from pathlib import Path

SUMMARY = "where a study is, from anywhere, also while it runs"
EPILOG = "It reads and disturbs nothing."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    parser.add_argument("workdir", metavar="DIR", help="the folder of the study")
    parser.add_argument("--storage", metavar="URL", help="its database, where the study has one: all hosts are seen")


def run(options: argparse.Namespace, line: str) -> int:
    """Prints what is done, what runs and what is left."""
    from attention_jax.study.engine.status import print_status

    print_status(Path(options.workdir), options.storage)
    return 0
