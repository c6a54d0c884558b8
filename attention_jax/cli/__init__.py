"""The command line: a file for each command, with its words, its options and its `run`; `commands` lists them."""
