"""`launch.py list`."""

import argparse

SUMMARY = "the attention variants, models, tasks, data sets and experiments there are"
EPILOG = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options: none."""


def run(options: argparse.Namespace, line: str) -> int:
    """Prints the tables."""
    from attention_jax.cli.listing import print_list

    print_list()
    return 0
