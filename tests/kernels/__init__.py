"""Tests of the parts of the kernels; what holds for every variant is in `tests.contract`."""
