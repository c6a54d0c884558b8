"""Recipes around kernels: each against a formula in float64, in steps as in one pass, and what they refuse."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.contract.cases import quick_jit
from attention_jax.kernels import Causal, Dense, Padding, Refused, Segments, attend, lookup, names
from attention_jax.kernels.cache import decodes
from attention_jax.kernels.recipe import NAMED
from attention_jax.kernels.registry import recipes
from attention_jax.kernels.steps import Fresh
from attention_jax.layers import Attention, Seen, StackOptions
from tests.layers.arrays import apply, normal, random_variables

BATCH, TOKENS, WIDTH, HEADS, KV_HEADS = 2, 7, 12, 4, 2
INPUTS = normal(BATCH, TOKENS, WIDTH)
EPSILON = 1e-5


def layer(spec: str, **options: Any) -> Attention:
    options = {"num_heads": HEADS, "width": WIDTH, "positions": "none", **options}
    return Attention(spec, StackOptions(**options))


class Formula:
    """A softmax of grouped heads in float64, and the parts that papers put around it, over one set of parameters."""

    def __init__(self, params: dict[str, Any]):
        self.params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)

    def project(self, name: str, x: np.ndarray) -> np.ndarray:
        of = self.params[name]
        return np.tensordot(x, of["kernel"], axes=1) + of["bias"]

    def convolve(self, name: str, x: np.ndarray) -> np.ndarray:
        out, taps = np.zeros_like(x), self.params[f"{name}_convolution"]["taps"]
        for token in range(x.shape[1]):
            for back in range(min(4, token + 1)):
                out[:, token] += taps[3 - back] * x[:, token - back]
        return out

    def rms(self, x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPSILON) * self.params["head_norm"]["scale"]

    def group(self, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        of = self.params["head_norm"]
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * of["scale"] + of["bias"]

    def softmax(self, query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
        out = np.zeros(query.shape)
        for head in range(HEADS):
            of_group = head // (HEADS // key.shape[2])
            logits = query[:, :, head] @ key[:, :, of_group].swapaxes(1, 2) / np.sqrt(query.shape[-1])
            weights = np.exp(logits - logits.max()) * np.tril(np.ones((TOKENS, TOKENS)))
            out[:, :, head] = weights @ value[:, :, of_group] / weights.sum(-1, keepdims=True)
        return out


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def retention(f: Formula, x: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    return f.group(f.softmax(q, k, v)) * silu(f.project("output_gate", x))


def gated_linear(f: Formula, x: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    return f.rms(f.softmax(q, k, v)) * silu(f.project("output_gate", x))


def convolved(f: Formula, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return silu(f.convolve("query", q)), silu(f.convolve("key", k)), silu(f.convolve("value", v))


def mamba2(f: Formula, x: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    q, k, v = convolved(f, q, k, v)
    skip = f.params["value_skip"][:, None] * v.repeat(HEADS // KV_HEADS, axis=2)
    return f.rms((f.softmax(q, k, v) + skip) * silu(f.project("output_gate", x)))


def gated_delta_net(f: Formula, x: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    return f.rms(f.softmax(*convolved(f, q, k, v))) * silu(f.project("output_gate", x))


def kimi_delta(f: Formula, x: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    gate = f.project("narrow_output_gate", f.project("gate_bottleneck", x))
    return f.rms(f.softmax(*convolved(f, q, k, v))) * sigmoid(gate)


def rwkv7(f: Formula, x: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    gate = f.project("narrow_output_gate", sigmoid(f.project("gate_bottleneck", x)))
    return f.group(f.softmax(q, k, v)) * gate


def canon(f: Formula, x: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    x = x + f.convolve("inputs", x)
    arrays = {name: f.project(name, x) for name in ("query", "key", "value")}
    return f.softmax(*(array + f.convolve(name, array) for name, array in arrays.items()))


FORMULAS = {
    "none": lambda f, x, q, k, v: f.softmax(q, k, v),
    "gated": lambda f, x, q, k, v: f.softmax(q, k, v) * sigmoid(f.project("output_gate", x)),
    "gated_by_head": lambda f, x, q, k, v: f.softmax(q, k, v) * sigmoid(f.project("output_gate", x))[..., None],
    "canon": canon,
    "delta_net": lambda f, x, q, k, v: f.rms(f.softmax(*convolved(f, q, k, v))),
    "gated_delta_net": gated_delta_net,
    "gated_linear": gated_linear,
    "gated_retention": retention,
    "hgrn2": lambda f, x, q, k, v: f.rms(f.softmax(silu(q), k, v)),
    "kimi_delta": kimi_delta,
    "mamba2": mamba2,
    "reformer_lsh": lambda f, x, q, k, v: f.softmax(q, q[:, :, ::2], v),
    "retention": retention,
    "rwkv7": rwkv7,
}


def test_every_recipe_that_softmax_can_have_has_its_formula():
    assert FORMULAS.keys() == {name for name, recipe in recipes().items() if not recipe.names}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_recipe_is_its_formula_in_float64(name):
    ours = layer(f"scaled_dot:recipe={name}", num_kv_heads=KV_HEADS, norm_epsilon=EPSILON)
    variables = random_variables(ours, INPUTS, Seen(Causal()))
    formula, x = Formula(variables["params"]), np.asarray(INPUTS, np.float64)
    # That of shared queries and keys has no key of its own.
    query, key, value = (
        formula.project(each if each in variables["params"] else "value", x) for each in ("query", "key", "value")
    )
    heads = FORMULAS[name](formula, x, query, key, value)
    out = formula.params["out"]
    expected = np.tensordot(heads, out["kernel"], axes=2) + out["bias"]
    np.testing.assert_allclose(apply(ours, variables, INPUTS, Seen(Causal())).out, expected, rtol=0, atol=5e-5)


def test_the_steps_of_a_product_of_deltas_are_convolved_too():
    variables = jax.eval_shape(lambda: layer("delta_product").init(jax.random.key(0), INPUTS, Seen(Causal())))
    found = {name.removesuffix("_convolution") for name in variables["params"] if name.endswith("_convolution")}
    assert found == {"query", "key", "value", "keys", "values"}


def test_own_is_what_the_file_of_the_variant_names_and_the_default():
    for name in names():
        assert lookup(name).recipe == lookup(f"{name}:recipe=own").recipe == recipes().get(name, NAMED["none"])
        assert lookup(f"{name}:recipe=none").recipe == NAMED["none"]
    assert lookup("delta_net:recipe=none,max_beta=2").kernel == "delta_net:max_beta=2"


IN_STEPS = [
    *(name for name in names() if name in recipes() and decodes(lookup(name)) is not None),
    *(f"scaled_dot:recipe={name}" for name in ("canon", "gated_by_head", "mamba2", "reformer_lsh")),
    "sliding_window:window=3,recipe=delta_net",
]


@pytest.mark.parametrize("spec", IN_STEPS)
def test_tokens_in_steps_give_what_one_pass_gives_at_every_split(spec):
    ours = layer(spec)
    # Row r has its first r tokens in the first step, and the others in the second.
    first = jnp.arange(TOKENS + 1)
    inputs = normal(TOKENS + 1, TOKENS, WIDTH, seed=1)
    later = jnp.stack([jnp.roll(row, -count, axis=0) for count, row in enumerate(inputs)])
    variables = random_variables(ours, inputs, Seen(Causal()))

    @quick_jit
    def run(variables: dict, first: jax.Array) -> tuple[jax.Array, ...]:
        def step(tokens: jax.Array, lengths: jax.Array, state: Any) -> Any:
            return ours.apply(variables, tokens, Seen(Causal(), lengths=lengths), state=state)

        one = step(inputs, first, Fresh(TOKENS))
        two = step(later, TOKENS - first, one.state)
        assert {leaf.shape[0] for leaf in jax.tree.leaves(two.state)} == {TOKENS + 1}, "the batch comes first"
        return ours.apply(variables, inputs, Seen(Causal())).out, one.out, two.out

    whole, before, after = run(variables, first)
    for row in range(TOKENS + 1):
        found = jnp.concatenate([before[row, :row], after[row, : TOKENS - row]])
        np.testing.assert_allclose(found, whole[row], rtol=0, atol=2e-5)


def test_a_scanned_model_decodes_prompts_of_unequal_length_as_it_reads_them_whole():
    facts = {"vocabulary_size": 11, "length": TOKENS}
    options = {"attention": "mamba2", "num_layers": 2, "num_heads": 2, "width": 8, "scan_layers": True}
    model = models.build("gpt", facts=facts, **options)
    tokens = jnp.asarray(np.random.default_rng(0).integers(11, size=(TOKENS, TOKENS)), jnp.int32)
    later = jnp.stack([jnp.roll(row, -count) for count, row in enumerate(tokens, start=1)])
    variables = random_variables(model, tokens)

    @quick_jit
    def run(variables: dict, first: jax.Array) -> tuple[jax.Array, ...]:
        state = model.apply(variables, TOKENS, method="start")
        before, state = model.apply(variables, state, tokens, first, method="advance")
        after, state = model.apply(variables, state, later, TOKENS - first, method="advance")
        return model.apply(variables, tokens), before, after

    first = jnp.arange(1, TOKENS + 1)
    whole, before, after = run(variables, first)
    np.testing.assert_allclose(before, whole[first - 1, first - 1], rtol=0, atol=2e-5)
    np.testing.assert_allclose(after[:-1], whole[:-1, -1], rtol=0, atol=2e-5)


def test_what_surrounds_a_kernel_is_refused_where_it_cannot_be():
    def refuses(spec: str, seen: Seen, message: str, **options: Any) -> None:
        ours = Attention(spec, StackOptions(num_heads=HEADS, width=WIDTH, positions="none"), cross="memory" in message)
        with pytest.raises(Refused, match=message) as error:
            jax.eval_shape(lambda: ours.init(jax.random.key(0), INPUTS, seen, **options))
        assert "\n" not in str(error.value)

    canon, ids = "scaled_dot:recipe=canon", jnp.zeros((BATCH, TOKENS), jnp.int32)
    refuses(canon, Seen(), "^scaled_dot:recipe=canon convolves .* was given no mask: .* scaled_dot with recipe=none")
    refuses(canon, Seen(Padding(ids[:, 0])), "was given Padding: ")
    refuses("delta_net", Seen(), "^delta_net convolves .* needs a causal mask, .* or use variant scaled_dot")
    tril = Causal() & Dense(jnp.ones((TOKENS, TOKENS), bool))
    refuses(
        canon, Seen(tril), "convolves here under masks of Causal, Window, Padding, Segments joined by &, not Dense:"
    )
    steps = Seen(Causal() & Segments(ids), lengths=ids[:, 0])
    refuses(canon, steps, "convolves in steps under masks of Causal, Window joined by &, not Segments", state=Fresh(9))
    memory = "^cross_attention='scaled_dot:recipe=canon' has added convolution .* use recipe=none, or recipe=gated"
    refuses(canon, Seen(memory=INPUTS), memory.replace("has", "(?P<memory>has)"))


def test_a_recipe_that_is_not_there_is_refused_in_one_line():
    with pytest.raises(Refused, match=r"^scaled_dot:recipe=gatd: there is no recipe 'gatd'\. Did you mean 'gated'"):
        lookup("scaled_dot:recipe=gatd")
    with pytest.raises(Refused, match="recipe delta_product is for keys, values of each token, which this variant"):
        lookup("scaled_dot:recipe=delta_product")


def test_a_kernel_alone_takes_no_recipe():
    array = INPUTS[:, :, None]
    with pytest.raises(Refused, match=r"^scaled_dot:recipe=gated names a recipe, .* give scaled_dot to the kernel"):
        attend(array, array, array, variant="scaled_dot:recipe=gated")


def test_a_gate_goes_around_attention_to_a_memory():
    ours = Attention(
        "scaled_dot:recipe=gated", StackOptions(num_heads=HEADS, width=WIDTH, positions="none"), cross=True
    )
    memory = normal(BATCH, 3, WIDTH, seed=2)
    variables = random_variables(ours, INPUTS, Seen(memory=memory))
    whole = apply(ours, variables, INPUTS, Seen(memory=memory)).out
    first = apply(ours, variables, INPUTS[:, :4], Seen(memory=memory), state=Fresh(9))
    rest = apply(ours, variables, INPUTS[:, 4:], Seen(), state=first.state)
    np.testing.assert_allclose(jnp.concatenate([first.out, rest.out], axis=1), whole, rtol=0, atol=1e-6)
