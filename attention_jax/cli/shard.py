"""`launch.py shard`."""

import argparse

from attention_jax.cli import arguments, running

SUMMARY = "where the parameters lie on the mesh, the memory of a device and the collectives of a step"
EPILOG = "The step is compiled and nothing is allocated.\n" + arguments.KEYS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    arguments.add_config(parser)
    parser.add_argument(
        "--devices", metavar="N", help="compile for N CPU devices in place of those there are", type=int
    )


def run(options: argparse.Namespace, line: str) -> int:
    """Compiles the step and prints the tables."""
    return running.run_on_devices(_shard, options, line, devices=options.devices)


def _shard(options: argparse.Namespace, line: str) -> int:
    from attention_jax.cli.shard_report import print_shards
    from attention_jax.training import Experiment

    print_shards(Experiment(**running.sections(options)))
    return 0
