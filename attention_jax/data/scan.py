"""SCAN: commands in a small language, to be turned into the actions that they mean."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.pairs import PairTexts, pairs_dataset
from attention_jax.data.seeds import check_seed
from attention_jax.data.text import held_out
from attention_jax.data.tfds_source import open_prepared, read
from attention_jax.data.words import Words


@register
def scan(
    *, split: str = "simple", validation_fraction: float = 0.1, seed: int = 0, buckets: int | tuple[int, ...] = 4
) -> Dataset:
    """Returns commands ("jump twice") and actions ("I_JUMP I_JUMP"), as `Pairs.gather` lays them out, a word a token.

    Lake & Baroni 2018, Generalization without Systematicity. The vocabulary is that of both. SCAN has no validation
    split: it is drawn from its training pairs by the seed, so it says nothing of what the test split asks beyond them.
    In addprim_jump a tenth of the training pairs are copies of "jump", which the validation split has its share of.

    source_length and target_length are those of all splits, so that the longer targets of the split "length" fit.

    Args:
      split: TFDS's config: "simple" (test pairs drawn at random), "length" (longer targets than in training),
        "addprim_jump" ("jump" is trained on alone) or another that is prepared.
      validation_fraction: of the training pairs, rounded.
      seed: fixes which of them; 0 to 2^32 - 1.
      buckets: how many lengths training pairs are padded to, which are then chosen for the fewest tokens, or the
        lengths, rising, the last of them target_length; () pads all to it.

    Raises:
      Refused: the set is unknown or not prepared, or an option cannot be used.
    """
    check_seed(seed, name="scan seed")
    builder = open_prepared(f"scan/{split}")
    trained, tested = ([_texts(example) for example in read(builder, part)] for part in ("train", "test"))
    drawn = np.random.default_rng(seed).permutation(len(trained))
    end = held_out(len(drawn), validation_fraction)
    if not 0 < end < len(drawn):
        raise Refused(
            f"scan validation_fraction {validation_fraction} of the {len(drawn)} training pairs leaves a split empty: "
            "use such as 0.1."
        )
    parts = {
        "train": [trained[number] for number in sorted(drawn[:end])],
        "validation": [trained[number] for number in sorted(drawn[end:])],
        "test": tested,
    }
    pairs = [*trained, *tested]
    # One more token than words: the end.
    source_length, target_length = (1 + max(len(pair[side].split()) for pair in pairs) for side in (0, 1))
    return pairs_dataset(
        {part: PairTexts(*map(list, zip(*found, strict=True))) for part, found in parts.items()},
        Words((text for pair in parts["train"] for text in pair), owner=f"the training text of scan/{split}"),
        source_length=source_length,
        target_length=target_length,
        buckets=buckets,
        owner=f"scan/{split}",
    )


def _texts(example: dict[str, bytes]) -> tuple[str, str]:
    return example["commands"].decode(), example["actions"].decode()
