"""Generated benchmarks, one file each: seeded, nothing is downloaded; to import a file registers what it defines."""
