"""`launch.py list`."""

import argparse

SUMMARY = (
    "the attention variants, position encodings, poolings, pairs, models, tasks, data sets and experiments there are"
)
EPILOG = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    parser.add_argument("--format", choices=("text", "json"), default="text", help="tables, or all of it for a program")


def run(options: argparse.Namespace, line: str) -> int:
    """Prints the tables, or JSON."""
    from attention_jax.cli.listing import print_json, print_list

    print_json() if options.format == "json" else print_list()
    return 0
