"""Selective copying: tokens among blanks, to be written down in their order without the blanks."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, generated


@register
def selective_copying(
    *,
    vocabulary_size: int = 16,
    length: int = 64,
    tokens: int = 8,
    train_examples: int = 100_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns generated sequences with fields inputs, targets, weights [B, length]; weight 1 at the answers, `asked`.

    The first length - K - 1 positions hold K = `tokens` tokens (0 to V - 3, with repetition) at places drawn without
    replacement, and blanks (V - 2) elsewhere, after the last of the tokens too. The separator (V - 1) follows, and then
    K blanks, whose targets are the tokens in their order.

    Source: Gu and Dao, "Mamba" (arXiv 2312.00752), section 4.1.1 (V 16, K 16, 4096 positions), whose set was not
    released; the layout is that of MAD (Poli et al., arXiv 2403.17844; V 16, K 16, T 256). Differences from MAD's
    generator: the places of the blanks come from the seed (there from NumPy's global state), and blanks may follow the
    last token, as in Mamba's figure 2 (there never).

    Args:
      vocabulary_size: V, blank and separator among them; at least 3.
      length: tokens in a sequence; at least 2 K + 1, which leaves no blank between.
      tokens: how many are to be copied, K.
      train_examples, validation_examples, test_examples: sequences in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size or the seed is impossible.
    """
    name = "selective_copying"
    draws.check_at_least(name, 3, vocabulary_size=vocabulary_size)
    draws.check_at_least(name, 1, tokens=tokens)
    if length < 2 * tokens + 1:
        raise Refused(
            f"{name} length {length} is too short for {tokens} tokens, a separator and their copies: use length "
            f"{2 * tokens + 1} or more, or at most {max(1, (length - 1) // 2)} tokens."
        )
    body = length - tokens - 1
    blank, separator = vocabulary_size - 2, vocabulary_size - 1

    def draw(rng: np.random.Generator, rows: int) -> Arrays:
        drawn = rng.integers(vocabulary_size - 2, size=(rows, tokens), dtype=np.int32)
        places = np.sort(draws.distinct(rng, (rows, tokens), low=0, high=body), axis=1)
        inputs = np.full((rows, length), blank, np.int32)
        np.put_along_axis(inputs, places, drawn, axis=1)
        inputs[:, body] = separator
        return draws.answered(inputs, np.arange(body + 1, length)[None], drawn)

    splits = generated(
        name,
        draw,
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    return Dataset(splits=splits, facts={"vocabulary_size": vocabulary_size, "length": length})
