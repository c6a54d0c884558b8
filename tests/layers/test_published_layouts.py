"""Published layouts are options of the stack alone: the shapes of all tensors are those of tiny checkpoints."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from attention_jax.layers import Embedding, Seen, Stack, StackOptions
from attention_jax.layers.defaults import norm
from tests.missing import missing
from tests.training.parameters import flat

TINY: dict[str, Any] = {"num_layers": 2, "num_heads": 4, "width": 32}
GPT2 = StackOptions(**TINY, activation="gelu_tanh")
ALBERT = StackOptions(
    **TINY, hidden=64, layer_groups=1, embedding_width=16, embedding_norm=True, norm_position="post",
    norm_epsilon=1e-12, activation="gelu_tanh",
)  # fmt: skip
T5 = StackOptions(
    **TINY, hidden=64, norm="rms", norm_epsilon=1e-6, activation="relu", use_bias=False, query_scale=1.0,
    positions="t5", shared_positions=True, logit_scale="inverse_sqrt_width",
)  # fmt: skip
GEMMA2 = StackOptions(
    **TINY, num_kv_heads=2, head_width=8, hidden=64, norm="rms", norm_position="sandwich", norm_epsilon=1e-6,
    activation="gelu_tanh", gated=True, use_bias=False, positions="rope", embedding_scale="sqrt_width",
    attention="softcap:cap=50.0", window=(4, None), logit_cap=30.0,
)  # fmt: skip
MODERNBERT = StackOptions(
    **{**TINY, "num_layers": 4}, hidden=48, norm="layer_no_bias", first_norm=False, embedding_norm=True, gated=True,
    use_bias=False, positions=("rope:base=160000.0", "rope", "rope"), window=(None, 3, 3),
)  # fmt: skip


class Layout(nn.Module):
    """Embeddings, blocks and the last norm, where there is one."""

    options: StackOptions
    length: int = 32

    @nn.compact
    def __call__(self, tokens: jax.Array, memory: jax.Array | None = None) -> jax.Array:
        options = self.options
        embedding = Embedding(options, 99, self.length, name="embedding")
        hidden = Stack(options, name="stack")(embedding(tokens), Seen(memory=memory)).hidden
        if options.norm_position != "post":
            hidden = norm(options.norm, name="norm", epsilon=options.norm_epsilon, dtype=options.compute_dtype)(hidden)
        return hidden


def shapes(layout: Layout, memory: jax.Array | None = None) -> Counter:
    """The shapes of its parameters, heads by width as matrices [width in, width out]."""
    tokens = jnp.zeros((1, 8), jnp.int32)
    params = jax.eval_shape(lambda: layout.init(jax.random.key(0), tokens, memory))["params"]

    def matrix(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        if re.search(r"attention/(query|key|value)/kernel", path):
            return shape[0], shape[1] * shape[2]
        if path.endswith("attention/out/kernel"):
            return shape[0] * shape[1], shape[2]
        return (shape[0] * shape[1],) if re.search(r"attention/(query|key|value)/bias", path) else shape

    return Counter(tuple(sorted(matrix(path, leaf.shape))) for path, leaf in flat(params).items())


@pytest.fixture(scope="module")
def published() -> dict[str, list[tuple[str, tuple[int, ...], int]]]:
    """The name, the shape and the number of each tensor of each checkpoint."""
    folder = os.environ.get("ATTENTION_JAX_ORACLES")
    if folder is None or not (Path(folder) / "names.txt").is_file():
        missing("set ATTENTION_JAX_ORACLES to the folder of tiny published checkpoints, with names.txt")
    found: dict[str, list[tuple[str, tuple[int, ...], int]]] = {}
    for line in (Path(folder) / "names.txt").read_text().splitlines():
        if line.startswith("## "):
            found[line.split()[1]] = tensors = []
        elif parts := re.fullmatch(r"\s+(\S+)\s+\[([\d, ]*)\] x(\d+)", line):
            tensors.append((parts[1], tuple(map(int, re.findall(r"\d+", parts[2]))), int(parts[3])))
    return found


def parts(name: str, shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The tensors that we have in the place of one that holds several, side by side."""
    if re.search(r"c_attn|Wqkv", name):
        yield from [tuple(32 if size == 96 else size for size in shape)] * 3
    elif name.endswith("mlp.Wi.weight"):
        yield from [tuple(48 if size == 96 else size for size in shape)] * 2
    else:
        yield shape


def wanted(tensors: list[tuple[str, tuple[int, ...], int]], skip: str) -> Counter:
    found: Counter = Counter()
    for name, shape, count in tensors:
        if not re.search(skip, name):
            for part in parts(name, shape):
                found[tuple(sorted(part))] += count
    return found


# What is not of the stack: the head of masked tokens, types of tokens; T5's two stacks are counted apart.
@pytest.mark.parametrize(
    ("name", "options", "length", "skip"),
    [
        ("gpt2", GPT2, 32, "^$"),
        ("albert", ALBERT, 40, "^predictions|token_type"),
        ("gemma2", GEMMA2, 32, "^$"),
        ("modernbert", MODERNBERT, 32, "^head|^decoder"),
    ],
)
def test_a_stack_has_the_tensors_of(published, name, options, length, skip):
    assert shapes(Layout(options, length)) == wanted(published[name], skip)


def test_two_stacks_have_the_tensors_of_t5(published):
    encoder = Layout(T5)
    decoder = Layout(StackOptions(**{**vars(T5), "cross_attention": "scaled_dot"}))
    both = shapes(encoder) + shapes(decoder, jnp.zeros((1, 5, 32)))
    # They share one table of tokens.
    both[(32, 99)] -= 1
    # Counted by layer and not by stack in names.txt: the norms of the decoder, three a block.
    assert both == wanted(published["t5"], "^$")
