"""softmax(W_a q) v: Luong et al. 2015, equation 8, "location": what a key holds plays no part, only where it stands.

W_a has a row for each position that a key can have, so a mechanism is made for a longest sequence. A shorter one takes
the first rows and normalises over them, as in the paper. A position that W_a has no row for gives NaN to who sees it.
"""

import jax.numpy as jnp
from jaxtyping import Array

from attention_jax.kernels.arrays import normal
from attention_jax.kernels.mechanism import Given, SoftmaxScore
from attention_jax.kernels.registry import Claims, register
from attention_jax.kernels.variants.alignment.luong import SOURCE


def _rows(key: Array, given: Given) -> Array:
    """The row of each key's place, in the place of what it holds."""
    assert given.place is not None
    weight = given.params["weight"].astype(key.dtype).swapaxes(0, 1)
    rows = jnp.take(weight, given.place.key, axis=0, mode="fill", fill_value=jnp.nan)
    return jnp.broadcast_to(rows, (key.shape[0], *rows.shape[1:]))


@register(source=SOURCE, claims=Claims(unequal_widths=True), aliases=("luong_location",))
def location() -> SoftmaxScore:
    """Softmax over places of what the query says of each; one map for each key head, for up to so many tokens."""
    return SoftmaxScore(prepare_key=_rows, arrays={"weight": normal("K", "length", "H", fan_in=(-1,))})
