"""`launch.py generate`."""

import argparse
import dataclasses

SUMMARY = "text that a trained model writes: a prompt continued, or translated"
EPILOG = """\
A language model continues its prompt and shows both; a model that reads a source (transformer) writes the target to it.
Without options it draws from the model's own distribution, --temperature=1, and a model that reads a source takes the
most probable token, --temperature=0. The same command gives the same text."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options: those of `generating.Asked`."""
    add = parser.add_argument
    add("--workdir", metavar="DIR", help="the folder of the run", required=True)
    add("--checkpoint", metavar="best|last|STEP", help="which one (default: the one that the run's score is of)")
    add("--prompt", metavar="TEXT", help="what is continued, or")
    add("--input", metavar="FILE", help="many, a prompt a line; - is the standard input")
    add(
        "--output",
        metavar="FILE",
        help="write JSON lines: prompt, text, log_probability, tokens, over (end|stop|length)",
    )
    add("--max_new_tokens", metavar="N", type=int, help="of each continuation (default: what the context has room for)")
    add("--num_return_sequences", metavar="N", type=int, help="continuations of each prompt (default: 1)", default=1)
    add("--temperature", metavar="X", type=float, help="what logits are divided by; 0 is greedy")
    add("--top_k", metavar="N", type=int, help="draw from the N most probable tokens")
    add("--top_p", metavar="P", type=float, help="draw from the most probable tokens that have P of the probability")
    add("--min_p", metavar="P", type=float, help="leave out tokens less probable than P times the most probable one")
    add("--repetition_penalty", metavar="X", type=float, help="make tokens that were there less probable; 1 is none")
    add("--seed", metavar="N", type=int, help="of what is drawn (default: 0)")
    add("--stop", metavar="TEXT", action="append", help="end before this text; may be given several times")
    add("--beams", metavar="N", type=int, help="beam search with N hypotheses, in place of drawing")
    add("--alpha", metavar="X", type=float, help="of --beams: the exponent of the length penalty (default: 0, none)")
    add("--batch_size", metavar="N", type=int, help="continuations at once (default: %(default)s)", default=32)


def run(options: argparse.Namespace, line: str) -> int:
    """Writes texts to the terminal or a file."""
    from attention_jax.cli.generating import Asked, generate_texts
    from attention_jax.kernels.supported import check_jax

    asked = Asked(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Asked)})
    check_jax()
    generate_texts(asked)
    return 0
