"""`launch.py prepare`."""

import argparse

SUMMARY = "prepare a data set of TFDS"
EPILOG = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    parser.add_argument("name", metavar="NAME", help="its name, such as fashion_mnist")
    parser.add_argument("--data_dir", metavar="DIR", help="where prepared sets go (default: TFDS_DATA_DIR)")
    parser.add_argument("--manual_dir", metavar="DIR", help="a folder that has the original files, to download nothing")


def run(options: argparse.Namespace, line: str) -> int:
    """Prepares it and prints where it lies."""
    from attention_jax.data import prepare

    folder = prepare(options.name, data_dir=options.data_dir, manual_dir=options.manual_dir)
    print(f"{options.name} is prepared in {folder}")
    return 0
