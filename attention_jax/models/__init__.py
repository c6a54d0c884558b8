"""The systems, one file each. `build` makes one by name and fills what the data set knows of itself."""

from attention_jax.models.catalogue import (
    LOSSES,
    arrays_of,
    build,
    check_collections,
    decode_bytes,
    may_read,
    models,
    mutable,
    parameter_rules,
    parameters_of,
    readers,
    register,
)

__all__ = [
    "LOSSES",
    "arrays_of",
    "build",
    "check_collections",
    "decode_bytes",
    "may_read",
    "models",
    "mutable",
    "parameter_rules",
    "parameters_of",
    "readers",
    "register",
]
