"""`launch.py selftest`."""

import argparse

SUMMARY = "the statistics of the reports on simulated studies whose truth is known: errors, power, coverage"
EPILOG = "The exit code is 1 when a bar is missed. 4000 studies of each kind take about two minutes on one core."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    add = parser.add_argument
    add("what", metavar="statistics", help="what is tested")
    add("--studies", metavar="N", type=int, default=4000, help="simulated for each kind (default: %(default)s)")
    add("--effect", metavar="SD", type=float, default=4.0, help="the true difference looked for (default: %(default)s)")
    add("--coverage", action="store_true", help="whether the intervals that are shown hold the true mean, too")
    add("--variants", metavar="6,15", default="6,15", help="their numbers (default: %(default)s)")
    add("--seeds", metavar="3,5,10", default="3,5,10", help="their numbers (default: %(default)s)")
    add("--seed", metavar="N", type=int, default=0, help="of the simulation (default: %(default)s)")


def run(options: argparse.Namespace, line: str) -> int:
    """Simulates, prints the table and judges it."""
    from attention_jax.base.errors import Refused
    from attention_jax.study.statistics import selftest

    if options.what != "statistics":
        raise Refused(f"there is no selftest {options.what!r}: try selftest statistics.")
    rows = selftest.run(
        studies=options.studies,
        effect=options.effect,
        coverage=options.coverage,
        variants=_numbers("variants", options.variants),
        seeds=_numbers("seeds", options.seeds),
        seed=options.seed,
    )
    return 0 if selftest.print_rows(list(rows)) else 1


def _numbers(name: str, text: str) -> list[int]:
    from attention_jax.base.errors import Refused

    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise Refused(f"--{name}={text}: give whole numbers separated by commas, such as 3,5.")
    return [int(word) for word in words]
