"""The library's own variants against the oracle; the rest of the contract is attention_jax/contract."""
