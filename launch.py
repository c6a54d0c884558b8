#!/usr/bin/env python3
"""The command line, from a checkout: attention_jax/cli parses, runs and says the exit code."""

import sys

from attention_jax.cli.main import main

if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
