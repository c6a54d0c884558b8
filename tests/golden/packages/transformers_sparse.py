"""`transformers`: the attention of its models that is sparse or of low rank."""

from functools import partial

import numpy as np
import torch
from transformers import BigBirdConfig, LongformerConfig, NystromformerConfig, ReformerConfig, SwinConfig
from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention, BigBirdModel
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention
from transformers.models.nystromformer.modeling_nystromformer import NystromformerSelfAttention
from transformers.models.reformer.modeling_reformer import LSHSelfAttention
from transformers.models.swin.modeling_swin import SwinLayer, window_partition, window_reverse

from tests.golden.packages.case import normal, write
from tests.golden.packages.instead import given

TOKENS, HEADS, WIDTH = 16, 2, 4
ALL = HEADS * WIDTH
# The random blocks that bigbird:block=2,random=2 draws with its seed of 0 for blocks 1 to 6 of 8.
PICKED = [[3, 5], [5, 4], [1, 6], [6, 1], [3, 2], [1, 3]]


def three(tokens=TOKENS, scale=1.0):
    """Queries, keys and values, which such layers make equally wide."""
    query, key, value = (normal(2, tokens, HEADS, WIDTH, seed=seed) for seed in range(3))
    return {"query": scale * query, "key": key, "value": value}


def nothing(tokens=TOKENS):
    """The input of a layer that is given its projections."""
    return torch.zeros(2, tokens, ALL, dtype=torch.float64)


def case(name, **said):
    """A case of this package."""
    write(f"transformers_{name}", package="transformers", **said)


def big_bird(picked, query, key, value):
    """BigBird's layer, with random blocks of ours or, in evaluation, none of its own."""
    config = BigBirdConfig(
        hidden_size=ALL, num_attention_heads=HEADS, block_size=2, num_random_blocks=2, max_position_embeddings=TOKENS
    )
    layer = given(BigBirdBlockSparseAttention(config), query=query, key=key, value=value)
    if picked is not None:
        layer._bigbird_block_rand_mask_with_head = lambda **_: [np.array(picked)] * HEADS
    everywhere = torch.ones(2, TOKENS, dtype=torch.float64)
    blocked, band, of_query, of_key = BigBirdModel.create_masks_for_block_sparse_attn(everywhere, 2)
    masks = {"from_mask": of_query, "to_mask": of_key, "from_blocked_mask": blocked, "to_blocked_mask": blocked}
    return layer(nothing(), band_mask=band, **masks)[0].view(value.shape)


def longformer(sinks, query, key, value):
    """Longformer's layer, whose tokens come before the sequences; tokens that see all have projections of their own."""
    config = LongformerConfig(hidden_size=ALL, num_attention_heads=HEADS, attention_window=[4], num_hidden_layers=1)
    of_query, of_key, of_value = (one.flatten(2).transpose(0, 1) for one in (query, key, value))
    layer = given(
        LongformerSelfAttention(config, 0), query=of_query, key=of_key, value=of_value,
        query_global=of_query[:sinks], key_global=of_key, value_global=of_value,
    )  # fmt: skip
    sees_all = (torch.arange(TOKENS) < sinks).expand(2, -1)
    return layer(
        nothing(), 10000.0 * sees_all.double(), torch.zeros_like(sees_all), sees_all, is_global_attn=sinks > 0
    )[0].view(value.shape)


def swin(grid, shift, query, key, value):
    """Swin's layer up to its projection: the padding of a grid, its shift, its windows and its mask."""
    rows, columns = grid
    layer = SwinLayer(SwinConfig(window_size=3, num_heads=[HEADS]), ALL, grid, HEADS, shift_size=shift).double().eval()
    torch.nn.init.zeros_(layer.attention.relative_position_bias.relative_position_bias_table)

    def windows(array):
        padded, _ = layer.maybe_pad(array.flatten(2).view(2, rows, columns, ALL), rows, columns)
        return window_partition(layer.cyclic_shift(padded), 3).view(-1, 9, ALL), padded.shape[1:3]

    (of_query, padded), (of_key, _), (of_value, _) = (windows(array) for array in (query, key, value))
    mask = layer.get_attn_mask(*padded, dtype=torch.float64, device=query.device)
    attention = given(layer.attention, q_proj=of_query, k_proj=of_key, v_proj=of_value)
    attention.o_proj = torch.nn.Identity()
    out = attention(of_query, mask)[0].view(-1, 3, 3, ALL)
    out = layer.cyclic_shift(window_reverse(out, 3, *padded), reverse=True)
    return out[:, :rows, :columns].reshape(value.shape)


def nystromformer(norms, query, key, value):
    """Nystromformer's layer without its convolution, started by the norm of each matrix or of all."""
    config = NystromformerConfig(
        hidden_size=ALL, num_attention_heads=HEADS, num_landmarks=4, segment_means_seq_len=TOKENS,
    )  # fmt: skip
    layer = given(NystromformerSelfAttention(config), query=query, key=key, value=value)
    layer.conv_kernel_size, layer.init_option = None, norms
    return layer(nothing())[0].view(value.shape)


def rotations(rounds):
    """What Reformer's layer draws with a seed of 1, [N, rounds, H, buckets / 2]."""
    torch.manual_seed(1)
    drawn = torch.randn(HEADS, WIDTH, rounds, 2, dtype=torch.float64)
    return drawn.transpose(1, 2).contiguous().numpy().astype(np.float32)


# Four tokens of padding, which come last, fill the last chunk: the first chunk looks at it there.
REAL = np.ones((2, TOKENS), bool)
REAL[0, 12:] = REAL[1, [7, 10, 13, 15]] = False


def reformer(rounds, is_causal, real, query, key, value, rotations):
    """Reformer's layer of hashed attention."""
    config = ReformerConfig(
        hidden_size=ALL, num_attention_heads=HEADS, attention_head_size=WIDTH, num_hashes=rounds, num_buckets=4,
        lsh_attn_chunk_length=4, lsh_num_chunks_before=1, lsh_num_chunks_after=0, hash_seed=1, is_decoder=is_causal,
    )  # fmt: skip
    layer = given(LSHSelfAttention(config), query_key=query, value=value)
    mask = None if real is None else torch.from_numpy(real)
    return layer(nothing(), attention_mask=mask).hidden_states.view(value.shape)


def blocks_and_windows():
    """BigBird, Longformer and Swin."""
    for sinks in (0, 2):
        case(
            f"longformer_{sinks}",
            function="LongformerSelfAttention",
            call=partial(longformer, sinks),
            arrays=three(),
            variant=f"sliding_window:window=3,sinks={sinks}",
        )
    for name, picked, random, differs in (
        ("big_bird", PICKED, 2, None),
        ("big_bird_evaluated", None, 0, "in evaluation its random blocks are all the first, which counts 1 + r times"),
    ):
        case(
            name,
            function="BigBirdBlockSparseAttention",
            call=partial(big_bird, picked),
            arrays=three(),
            variant=f"bigbird:block=2,random={random}",
            differs=differs,
        )
    for name, grid, shift, differs in (
        ("swin", (3, 6), 0, None),
        ("swin_shifted", (6, 3), 1, None),
        ("swin_padded", (4, 5), 0, "tokens that pad the grid are seen, as zero keys and values"),
    ):
        case(
            name,
            function="SwinAttention in its SwinLayer",
            call=partial(swin, grid, shift),
            arrays=three(grid[0] * grid[1]),
            variant=f"swin:window=3,shift={shift}",
            grid=grid,
            differs=differs,
        )


def hashed():
    """Reformer."""
    for name, rounds, is_causal, real, differs in (
        ("reformer", 1, False, REAL, None),
        ("reformer_causal", 1, True, REAL, None),
        ("reformer_rounds", 2, False, REAL, "a key that a token meets in several rounds counts once in each of them"),
        ("reformer_first_chunk", 1, False, None, "the first chunk looks at the last one"),
    ):
        case(
            name,
            function="LSHSelfAttention",
            call=partial(reformer, rounds, is_causal, real),
            arrays={**three(scale=3.0), "params/rotations": rotations(rounds)},
            still=("params/rotations",),
            mask="causal" if is_causal else None,
            real=real,
            variant=f"reformer_lsh:rounds={rounds},buckets=4,chunk=4",
            differs=differs,
        )


def main():
    blocks_and_windows()
    hashed()
    for name, norms, differs in (
        ("nystromformer", "exact", None),
        ("nystromformer_original", "original", "the pseudo-inverse starts from the largest norm of the whole batch"),
    ):
        case(
            name,
            function="NystromformerSelfAttention",
            call=partial(nystromformer, norms),
            arrays=three(scale=2.0),
            variant="nystrom:landmarks=4",
            differs=differs,
        )


if __name__ == "__main__":
    main()
