"""See attention_jax/contract/strictly.py."""

from attention_jax.contract.strictly import *  # noqa: F403
