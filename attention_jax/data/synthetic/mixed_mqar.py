"""Multi-query associative recall with several numbers of pairs: which recall fails, and from how many pairs on."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data import dataset as data_sets
from attention_jax.data.dataset import ArraySource, Dataset, Source, register
from attention_jax.data.seeds import check_seed


@register
def mixed_mqar(
    *,
    vocabulary_size: int = 8192,
    length: int = 64,
    pairs: tuple[int, ...] = (4, 8, 16),
    power: float = 0.01,
    fillers: str = "random",
    train_examples: int = 100_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns examples of `mqar` of which as many have each number of pairs; `task.slices=("pairs",)` tells them apart.

    Source: the configs of Figure 2 of Zoology (arXiv 2312.04927), which train and test on several numbers of pairs.
    There the length grows with them; here it is one, so that slices differ in the number of pairs alone.

    Args:
      vocabulary_size, length, power, fillers, seed: as of `mqar`.
      pairs: different numbers of pairs in a sequence.
      train_examples, validation_examples, test_examples: sequences in each split; the first numbers of pairs have one
        more where it is not a multiple of how many there are.

    Raises:
      Refused: `pairs` names none or one twice, a split is smaller, or `mqar` refuses one of them.
    """
    sizes = {"train": train_examples, "validation": validation_examples, "test": test_examples}
    check_seed(seed, name="mixed_mqar seed")
    if not pairs or len(set(pairs)) < len(pairs):
        raise Refused(f"mixed_mqar pairs {pairs}: give different numbers of pairs, such as (4, 8, 16).")
    for split, examples in sizes.items():
        if examples < len(pairs):
            raise Refused(f"mixed_mqar has {split}_examples {examples} for pairs {pairs}: give at least {len(pairs)}.")
    parts = [
        data_sets.build(
            "mqar",
            vocabulary_size=vocabulary_size,
            length=length,
            pairs=number,
            power=power,
            fillers=fillers,
            # The same draws for every number would make their examples alike.
            seed=int(np.random.SeedSequence([seed, number]).generate_state(1)[0]),
            **{f"{split}_examples": len(range(place, examples, len(pairs))) for split, examples in sizes.items()},
        )
        for place, number in enumerate(pairs)
    ]
    splits: dict[str, Source] = {split: _joined([part.splits[split] for part in parts]) for split in sizes}
    return Dataset(splits=splits, facts=parts[0].facts)


def _joined(sources: list[Source]) -> ArraySource:
    gathered = [source.gather(np.arange(len(source))) for source in sources]
    return ArraySource({field: np.concatenate([part[field] for part in gathered]) for field in gathered[0]})
