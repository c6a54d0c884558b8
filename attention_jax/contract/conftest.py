"""See attention_jax/contract/strictly.py."""

from attention_jax.contract.strictly import pytest_configure

__all__ = ["pytest_configure"]
