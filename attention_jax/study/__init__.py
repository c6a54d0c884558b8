"""Comparisons of attention variants: running them, their statistics, and the report."""

from attention_jax.study.run import run_comparison

__all__ = ["run_comparison"]
