"""The systems, one file each. `build` makes one by name and fills what the data set knows of itself."""

from attention_jax.models.catalogue import arrays_of, build, decode_bytes, may_read, models, parameters_of, readers

__all__ = ["arrays_of", "build", "decode_bytes", "may_read", "models", "parameters_of", "readers"]
