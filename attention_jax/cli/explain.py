"""`launch.py explain`."""

import argparse
import dataclasses

SUMMARY = "which engine would compute an attention, and why not another"
EPILOG = """\
--shape is that of the query, B,T,N,H, and what differs for the keys by its letter: 1,4096,32,128,K=8. B sequences, T
queries, N heads, H wide; S keys (T where left out), K key heads (N), J key width (H), Hv value width (H). --mask joins
rules by & and |, & first, with parentheses: "causal & window(256) | global(4)". There is causal, window(n), global(n),
prefix_lm(n), padding(length,...), segments, blocks(size), dense; of the last three it counts that they are there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options: those of `explaining.Question`, and --memory."""
    add = parser.add_argument
    add("variant", metavar="VARIANT", help="such as scaled_dot, performer:features=64 or my_file.py:my_attention")
    add("--shape", metavar="B,T,N,H", help="the sizes", required=True)
    add("--mask", metavar="RULES", help="who sees whom")
    add("--dtype", metavar="DTYPE", help="float32 (default), bfloat16, float16 or float64", default="float32")
    add("--outputs", metavar="A,B", help="default: out", default="out")
    add("--memory", action="store_true", help="and the memory it needs")
    add("--positions", metavar="first|last", help="where T queries stand among S keys, if they are fewer")
    add("--dropout", metavar="RATE", help="of the weights", type=float, default=0.0)
    add("--bias", action="store_true", help="with a bias [N, T, S]")
    add("--score_mod", action="store_true", help="with a score function")


def run(options: argparse.Namespace, line: str) -> int:
    """Prints the engines with their reasons."""
    from attention_jax.cli.explaining import Question, print_explanation
    from attention_jax.kernels.supported import check_jax

    check_jax()
    asked = {field.name: getattr(options, field.name) for field in dataclasses.fields(Question)}
    print_explanation(Question(**asked), with_memory=options.memory)
    return 0
