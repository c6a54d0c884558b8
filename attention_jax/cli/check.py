"""`launch.py check`."""

import argparse

from attention_jax.cli import arguments

SUMMARY = (
    "hold an attention, a position encoding, a pooling or a pair of your own to the contract of its kind, in about a "
    "minute"
)
EPILOG = "The exit code is 1 when one of them fails."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    parser.add_argument("spec", metavar="FILE.py:FUNCTION", help="or a name that `launch.py list` prints")
    parser.add_argument("--only", metavar="A,B", help="some, such as causality,masks")


def run(options: argparse.Namespace, line: str) -> int:
    """Runs the contract and prints its lines."""
    from attention_jax.cli.checking import check
    from attention_jax.kernels.supported import check_jax

    check_jax()
    return 0 if check(options.spec, only=arguments.listed(options.only)) else 1
