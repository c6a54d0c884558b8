"""What the path of a parameter says."""

import pytest

from attention_jax.layers.paths import Block, block_of


@pytest.mark.parametrize(
    ("path", "block"),
    [
        ("block_0/attention/query/kernel", Block("", 0)),
        ("decoder/block_12/feed_forward/out/kernel", Block("decoder", 12)),
        ("blocks/attention/query/kernel", Block("", None)),
        ("encoder/blocks/attention/query/kernel", Block("encoder", None)),
        ("token/embedding", None),
        ("block_0", None),
        ("my_block_0/kernel", None),
        ("building_blocks/kernel", None),
    ],
)
def test_the_block_of_a_parameter_is_read_off_its_path(path, block):
    assert block_of(path) == block
