"""`launch.py look`."""

import argparse

SUMMARY = "the attention maps of a trained model on one input, as an HTML report"
EPILOG = """\
--input is a text where the run was trained on texts; a model that reads a source writes its target first; of a document
each line is a sentence. Of images and of other data it is the number of an example of the validation split, and of a
classifier of texts it may be one.
Of a variant that forms no weights it shows what there is: the norm of its state and its gates over the tokens, or how
much of each value is in each output."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    add = parser.add_argument
    add("--workdir", metavar="DIR", help="the folder of the run", required=True)
    add("--input", metavar="TEXT|N", help="what the model is shown", required=True)
    add("--checkpoint", metavar="best|last|STEP", help="which one (default: the one that the run's score is of)")
    add("--output", metavar="FILE.html", help="the report (default: look.html in the folder)")


def run(options: argparse.Namespace, line: str) -> int:
    """Writes the report, and says where."""
    from pathlib import Path

    from attention_jax.kernels.supported import check_jax
    from attention_jax.study.look.run import look_at

    check_jax()
    output = None if options.output is None else Path(options.output)
    workdir = Path(options.workdir)
    print(look_at(workdir, options.input, checkpoint=options.checkpoint, output=output, command=line))
    return 0
