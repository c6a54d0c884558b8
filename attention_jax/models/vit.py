"""The Vision Transformer: Dosovitskiy et al. 2020, equations 1 to 4.

An image is cut into patches, each embedded by one linear layer; a class token is put before them, learned positions are
added, pre-norm blocks follow, and the class token's output, normalised, is classified. Without a class token (appendix
D.3) the patches alone are the tokens, which then lie in a grid, and a pooling of them is classified.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.layers import Pooling, PositionEmbedding, Seen, Stack, StackOptions
from attention_jax.layers.stack import PARAMETER_RULES
from attention_jax.layers.stack_options import OF_EMBEDDINGS, OF_LOGITS
from attention_jax.models.catalogue import register

CLASS_TOKEN = "class_token"


@register("vit")
class ViT(nn.Module, kw_only=True):
    """Classifies an image from its patches.

    Attributes:
      image_shape: (height, width, channels), a fact of the data.
      num_classes: a fact of the data.
      stack: the options of its blocks.
      patch: the side of a patch in pixels, or its (height, width), such as (1, 8) for the rows of an 8 x 8 image; it
        divides height and width.
      pooling: what is classified: "class_token", or the spec of a pooling of the patches, such as "mean". An attention
        that goes by rows and columns needs the latter: a class token lies in none.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    stack: StackOptions = StackOptions(norm_epsilon=1e-6, init="xavier_uniform")
    patch: int | tuple[int, int] = 4
    pooling: str = CLASS_TOKEN

    reads: ClassVar[tuple[str, ...]] = ("image",)
    parameter_rules = (
        *PARAMETER_RULES,
        ("class_token", ()),
        ("patch/kernel", (None, "fsdp")),
        ("patch/bias", ()),
    )

    @nn.compact
    def __call__(self, image: Float[Array, "B Y X C"], *, deterministic: bool = True) -> Float[Array, "B K"]:
        """Returns the logits of the classes, float32 [B, num_classes].

        Args:
          image: [B, height, width, channels].
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: the patch does not divide the image, or the attention or the pooling refuses.
        """
        options, dtype, grid = self.stack, self.stack.compute_dtype, None
        options.refuse(*OF_EMBEDDINGS, *OF_LOGITS, "cross_attention", owner="model vit")
        patches = cut_patches(image.astype(dtype), self.patch)
        hidden = nn.Dense(options.width, kernel_init=nn.initializers.lecun_normal(), dtype=dtype, name="patch")(patches)
        if self.pooling == CLASS_TOKEN:
            class_token = self.param("class_token", nn.initializers.zeros, (1, 1, options.width), jnp.float32)
            class_token = jnp.broadcast_to(class_token.astype(dtype), (len(image), 1, options.width))
            hidden = jnp.concatenate([class_token, hidden], axis=1)
        else:
            grid = grid_of(image.shape, self.patch)
        if options.embedded_positions is not None:
            positions = options.embedded_positions
            hidden = PositionEmbedding(positions, hidden.shape[1], options.embedding_init, name="position")(hidden)
        blocks = Stack(options)
        # Its parameters are named as those of the model.
        nn.share_scope(self, blocks)
        hidden, _ = blocks(hidden, Seen(grid=grid), deterministic=deterministic)
        pooled = hidden[:, 0] if grid is None else Pooling(self.pooling, name="pooling")(hidden)
        pooled = options.make_norm("norm")(pooled)
        # The paper starts the head at zero.
        head = nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros, dtype=dtype, name="head")
        return head(pooled).astype(jnp.float32)


def cut_patches(image: Float[Array, "B Y X C"], patch: int | tuple[int, int]) -> Float[Array, "B P F"]:
    """Cuts images into patches, row by row, each flattened as (y, x, channel).

    Args:
      image: [B, Y, X, C].
      patch: (y, x), the height and the width of a patch in pixels; one number is both.

    Returns:
      [B, (Y/y)(X/x), y*x*C].

    Raises:
      Refused: the patch does not divide the image.
    """
    batch, height, width, channels = image.shape
    rows, columns = grid_of(image.shape, patch)
    tall, wide = height // rows, width // columns
    cut = image.reshape(batch, rows, tall, columns, wide, channels).transpose(0, 1, 3, 2, 4, 5)
    return cut.reshape(batch, rows * columns, tall * wide * channels)


def grid_of(shape: tuple[int, ...], patch: int | tuple[int, int]) -> tuple[int, int]:
    """Returns the rows and the columns of patches in images of a shape [B, Y, X, C].

    Raises:
      Refused: the patch does not divide the image.
    """
    height, width = shape[1:3]
    tall, wide = (patch, patch) if isinstance(patch, int) else patch
    if min(tall, wide) < 1 or height % tall or width % wide:
        raise Refused(f"patches of {patch} pixels do not divide an image of {height}x{width}: give a divisor of both.")
    return height // tall, width // wide
