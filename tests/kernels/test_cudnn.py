"""The cuDNN engine, as far as it can be seen without a GPU.

That the right kernel gets the right mask is read in the program compiled for CUDA; what is done before and after the
kernel is run with the kernel's own reference, `implementation="xla"`, in its place. The version of cuDNN and the GPU
are made up, since jax asks for both while it traces.
"""

import functools
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo

from attention_jax.contract.cases import AGREEMENT, GRADIENT_AGREEMENT, error, like_output, make, quick_jit
from attention_jax.kernels import (
    Causal,
    Global,
    Padding,
    PrefixLM,
    Refused,
    Segments,
    Sizes,
    SoftmaxScore,
    Window,
    attend,
    explain,
    init,
)
from attention_jax.kernels.checks import checked
from attention_jax.kernels.engines import cudnn, dense, platform

LENGTHS = Padding(np.array([5, 0]))
IDS = Segments(np.zeros((2, 8), int))
SHAPES = {"queries": 8, "value_width": 8}


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(platform, "name", lambda: "cuda")
    monkeypatch.setattr(platform, "compute_capability", lambda: (9, 0))
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)


@pytest.fixture
def reference(monkeypatch):
    """Puts the reference of jax.nn in the kernel's place; the arguments stay those that cuDNN gets."""
    kernel = jax.nn.dot_product_attention

    def without_cudnn(*arrays, implementation, **arguments):
        assert implementation == "cudnn"
        return kernel(*arrays, implementation="xla", **arguments)

    monkeypatch.setattr(jax.nn, "dot_product_attention", without_cudnn)


def arrays_of(**shapes):
    return make("scaled_dot", **({"dtype": jnp.bfloat16} | SHAPES | shapes))[:3]


def kernels(arrays=None, **arguments):
    """(name, mask, window) of each call of cuDNN in forward and backward, and the whole program."""

    def forward_and_backward(*arrays):
        out, pullback = jax.vjp(lambda *arrays: attend(*arrays, engine="cudnn", **arguments).out, *arrays)
        return out, pullback(out)

    traced = jax.jit(forward_and_backward).trace(*(arrays or arrays_of()))
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    pattern = r"@__cudnn\$(\w+)\(.*?mask_type\\22: \\22(\w+)\\22.*?sliding_window_length\\22: (\d+)"
    return [(name, mask, int(window)) for name, mask, window in re.findall(pattern, program)], program


@pytest.mark.parametrize(
    ("mask", "kind", "window"),
    [
        (None, "NO_MASK", 0),
        (Causal(), "CAUSAL", 0),
        (Causal() & Window(3), "CAUSAL", 3),
        (Causal() & Window(8), "CAUSAL", 0),
        (Window(1), "CAUSAL", 1),
        (LENGTHS, "PADDING", 0),
        (Causal() & LENGTHS & Padding(np.array([3])), "PADDING_CAUSAL", 0),
    ],
)
@pytest.mark.usefixtures("gpu")
def test_the_kernel_gets_the_mask(mask, kind, window):
    calls, _ = kernels(mask=mask)
    assert calls == [("fmhaSoftmax", kind, window), ("fmhaSoftmaxBackward", kind, window)]


@pytest.mark.usefixtures("gpu")
def test_a_window_never_reaches_the_kernel_without_causal():
    # cuDNN takes a window of the left side alone and shows what is to the right of it (jax issue 39576).
    rules = [Causal(), Window(2), Window(5), LENGTHS, IDS, Global(1)]
    pairs = [left & right for left in rules for right in rules] + [left | right for left in rules for right in rules]
    masks = [*rules, *pairs, Causal() & Window(3) & LENGTHS, PrefixLM(3) & Window(3)]
    refused = 0
    for mask in masks:
        try:
            calls, _ = kernels(mask=mask)
        except Refused:
            refused += 1
            continue
        assert all(window == 0 or kind == "CAUSAL" for _, kind, window in calls)
    assert 0 < refused < len(masks)


@pytest.mark.parametrize(("spec", "scale"), [("scaled_dot", 8**-0.5), ("scaled_dot:scale=2.0", 2.0)])
@pytest.mark.usefixtures("gpu")
def test_the_kernel_gets_the_scale_and_heads_that_share_keys(spec, scale):
    calls, program = kernels(variant=spec)
    assert len(calls) == 2
    (forward, backward) = re.findall(r"fmha_scale\\22: ([\d.]+)", program)
    assert float(forward) == float(backward) == pytest.approx(scale)
    assert re.search(r"fmhaSoftmax\(.*\(tensor<2x8x4x8xbf16>, tensor<2x8x2x8xbf16>, tensor<2x8x2x8xbf16>\)", program)


@pytest.mark.usefixtures("gpu")
def test_it_is_the_first_choice_on_a_gpu_and_says_so():
    taken, *others = explain(*arrays_of(), mask=Causal())
    assert (taken.engine, taken.taken) == ("cudnn", True)
    assert "it is cuDNN's fused kernel" in taken.reason
    assert not any(candidate.taken for candidate in others)


@pytest.mark.parametrize("axes", [(0, 0, 0), (0, None, None), (None, 0, 0), (1, 1, 0)], ids=str)
@pytest.mark.usefixtures("gpu")
def test_vmap_over_some_or_all_arrays_is_one_kernel_of_a_larger_batch(axes):
    several = [
        array if axis is None else jnp.stack([array] * 3, axis) for array, axis in zip(arrays_of(), axes, strict=True)
    ]

    def forward_and_backward(*arrays):
        attention = functools.partial(attend, mask=Causal() & LENGTHS, engine="cudnn")
        out, pullback = jax.vjp(lambda *arrays: attention(*arrays).out, *arrays)
        return out, pullback(out)

    traced = jax.jit(jax.vmap(forward_and_backward, in_axes=axes)).trace(*several)
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    shapes = r"\(.*?\(tensor<6x8x4x8xbf16>, tensor<6x8x2x8xbf16>, tensor<6x8x2x8xbf16>"
    assert re.search(rf"fmhaSoftmax{shapes}", program)
    assert re.search(rf"fmhaSoftmaxBackward{shapes}", program)


@pytest.mark.parametrize(
    ("shapes", "arguments", "said"),
    [
        ({"dtype": jnp.float32}, {}, "it takes bfloat16 or float16, not float32"),
        ({"queries": 7}, {}, "it takes even numbers of tokens, not 7 queries and 7 keys"),
        ({"keys": 9}, {}, "it takes even numbers of tokens, not 8 queries and 9 keys"),
        ({"value_width": 16}, {}, "it takes values as wide as the keys, not 16 for 8"),
        ({"width": 12, "value_width": 12}, {}, "it takes heads of a width up to 128 that is a multiple of 8, not 12"),
        ({"width": 136, "value_width": 136}, {}, "it takes heads of a width up to 128 .* not 136"),
        ({}, {"mask": Window(3)}, "it takes a Window only together with Causal"),
        ({}, {"mask": Causal() & Window(3) & LENGTHS}, "it takes a Window or Padding, not both"),
        ({}, {"mask": Padding(np.ones((2, 8), bool))}, "it takes Padding as lengths, not as an array of keys"),
        ({}, {"segments": jnp.zeros((2, 8), int)}, "it takes no segments"),
        ({}, {"bias": jnp.zeros((8, 8))}, "it takes no bias"),
        ({}, {"outputs": ("out", "lse")}, "it returns no lse"),
        ({}, {"variant": "cosine"}, "it takes bfloat16 or float16, not bfloat16, float32"),
    ],
)
@pytest.mark.usefixtures("gpu")
def test_what_it_refuses(shapes, arguments, said):
    arrays = arrays_of(**shapes)
    params = init(arguments.get("variant", "scaled_dot"), jax.random.key(0), Sizes(4, 2, 8, 8, 8))[0]
    with pytest.raises(Refused, match=f"engine cudnn cannot run .*: {said}"):
        attend(*arrays, engine="cudnn", params=params, **arguments)


@pytest.mark.usefixtures("gpu")
def test_a_soft_cap_is_refused():
    case = checked(*arrays_of())
    capped = replace(case, variant=replace(case.variant, mechanism=SoftmaxScore(soft_cap=30.0)))
    assert cudnn.refusal(case) is None
    assert cudnn.refusal(capped) == "it takes no soft cap"


def test_it_needs_an_nvidia_gpu_of_its_generation(monkeypatch):
    for name in ("cpu", "rocm", "tpu"):
        monkeypatch.setattr(platform, "name", lambda name=name: name)
        with pytest.raises(Refused, match=f"it needs an NVIDIA GPU, and this is a {name}"):
            attend(*arrays_of(), engine="cudnn")
    monkeypatch.setattr(platform, "name", lambda: "cuda")
    monkeypatch.setattr(platform, "compute_capability", lambda: (7, 5))
    with pytest.raises(Refused, match=r"compute capability \(8, 0\), and this one has \(7, 5\)"):
        attend(*arrays_of(), engine="cudnn")


@functools.partial(quick_jit, static_argnames="run")
def out_and_gradients(run, arrays, mask, weighing):
    out, pullback = jax.vjp(lambda *arrays: run(checked(*arrays, mask=mask)).out, *arrays)
    return out, pullback(weighing)


@pytest.mark.parametrize(
    "mask",
    [None, Causal(), Causal() & Window(3), LENGTHS, Causal() & LENGTHS],
    ids=["none", "causal", "window", "lengths", "both"],
)
@pytest.mark.parametrize("holding", ["numbers", "nan"])
@pytest.mark.usefixtures("reference")
def test_around_the_kernel_all_is_as_in_the_dense_engine(mask, holding):
    inputs = make("scaled_dot", **SHAPES)
    query, key, value = inputs[:3]
    if holding == "nan":
        # Seen by some queries, by none where the lengths hide it, and in the sequence without keys.
        key, value = key.at[0, 4, 1].set(jnp.nan), value.at[:, 6, 0].set(jnp.inf)
        query = query.at[:, 2, 3].set(jnp.nan)
    weighing = jnp.asarray(like_output(inputs), jnp.float32)
    results = (out_and_gradients(engine.run, (query, key, value), mask, weighing) for engine in (cudnn, dense))
    (out, gradients), (expected, of_dense) = results
    np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))
    assert np.isnan(out).any() == (holding == "nan")
    assert error(np.nan_to_num(out), np.nan_to_num(expected)) < AGREEMENT
    for left, right in zip(gradients, of_dense, strict=True):
        assert error(left, right) < GRADIENT_AGREEMENT
    if mask is not None and isinstance(mask, Padding):
        assert (out[1] == 0).all()


def test_the_kernel_never_gets_a_sequence_without_keys(monkeypatch):
    given = []

    def kernel(query, key, value, *, key_value_seq_lengths, **arguments):
        given.append(key_value_seq_lengths)
        return query

    monkeypatch.setattr(jax.nn, "dot_product_attention", kernel)
    case = checked(*arrays_of(), mask=LENGTHS & Padding(np.array([9, -2], np.int16)))
    assert (cudnn.run(case).out[1] == 0).all()
    assert (given[0].tolist(), given[0].dtype) == ([5, 1], jnp.int32)
