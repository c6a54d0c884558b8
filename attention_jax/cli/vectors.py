"""`launch.py vectors`."""

import argparse
from pathlib import Path

SUMMARY = "the word vectors of a trained run, in a file that other programs read"
EPILOG = "The format is that of word2vec: binary for FILE.bin, text for any other name."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    parser.add_argument("--workdir", metavar="DIR", required=True, help="the folder of the run")
    parser.add_argument("--output", metavar="FILE", required=True, help="where they are written")
    parser.add_argument(
        "--table",
        metavar="PATH",
        default="token/embedding",
        help="the array of the model that has a row for each token (default: token/embedding)",
    )
    parser.add_argument(
        "--checkpoint", metavar="C", help="best, last or a step (default: the one that the run's score is of)"
    )


def run(options: argparse.Namespace, line: str) -> int:
    """Writes them."""
    from attention_jax.cli.word_table import write_vectors

    output = Path(options.output)
    count = write_vectors(Path(options.workdir), options.table, output, checkpoint=options.checkpoint)
    print(f"{count} vectors in {output}")
    return 0
