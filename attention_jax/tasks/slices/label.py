"""Examples by what they are."""

from attention_jax.tasks.slicing import Slicing, slicings


@slicings.register
def label() -> Slicing:
    """Examples by their class, which is a number."""
    return Slicing(
        reads=("label",), count=lambda output, batch: output.shape[-1], of=lambda batch: batch["label"].astype("int32")
    )
