"""The systems, one file each. `build` makes one by name and fills what the data set knows of itself."""

from attention_jax.models.catalogue import build, models

__all__ = ["build", "models"]
