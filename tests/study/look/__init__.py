"""Tests of attention_jax/study/look."""
