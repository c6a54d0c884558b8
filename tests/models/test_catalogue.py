"""Models by name: any of them with any variant, made for a data set or refused."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from attention_jax import models
from attention_jax.base.options import option_parameters
from attention_jax.contract.cases import SPECS, widely
from attention_jax.kernels import Refused, lookup, names
from attention_jax.layers import StackOptions
from attention_jax.layers.paths import block_of
from attention_jax.models.catalogue import register
from tests.training.parameters import flat

FACTS = {
    **{"vocabulary_size": 11, "length": 8, "num_classes": 3, "image_shape": (8, 8, 1)},
    **{"source_length": 8, "target_length": 8, "begin": 1, "end": 2},
    **{"passage_length": 8, "character_vocabulary_size": 7, "story_length": 8, "oov_words": 3, "unknown": 1},
}
TOKENS, IMAGE = jnp.zeros((2, 8), jnp.int32), jnp.zeros((2, 8, 8, 1))
BATCH = {"inputs": TOKENS, "tokens": TOKENS, "source": TOKENS, "image": IMAGE}
BATCH |= {
    "document": jnp.ones((2, 3, 4), jnp.int32),
    "first": TOKENS,
    "second": TOKENS,
    "passage": TOKENS,
    "question": TOKENS,
}
BATCH |= {"center": TOKENS[:, 0], "contexts": TOKENS, "negatives": TOKENS, "characters": jnp.ones((2, 8, 4), jnp.int32)}
BATCH |= {"story": jnp.zeros((2, 8, 3), jnp.int32), "source_extended": TOKENS}
BIDIRECTIONAL = {"encoder_classifier", "vit"}
SIZES = {"num_layers": 2, "num_heads": 2, "width": 8}
# Of models without a stack, which take no attention variant: what makes them small.
LSTM = {"width": 8, "bidirectional": True}
SMALL: dict[str, dict[str, Any]] = {
    "abcnn": {"width": 8, "filters": 8},
    "bilm": {"bilm": {"width": 8, "filters": 8}},
    "bidaf": {"width": 8, "filters": 8, "encoder": LSTM, "modelling": LSTM},
    "cnn_classifier": {"width": 8, "filters": 8, "attention": "scaled_dot", "pooling": "by_query", "query_width": 8},
    "external_query": {"width": 8, "filters": 8, "encoder": LSTM, "hidden": 8},
    "han": {"width": 8, "words": LSTM, "sentences": LSTM},
    "memory_network": {"width": 8, "tying": "layer_wise"},
    "pair_classifier": {"width": 8, "encoder": LSTM, "hidden": 8},
    "pointer_generator": {"width": 8, "encoder": LSTM, "decoder": {"width": 8}},
    "pointer_network": {"width": 8, "encoder": LSTM, "decoder": {"width": 16}},
    "recurrent_classifier": {"width": 8, "encoder": LSTM},
    "seq2seq": {"width": 8, "encoder": LSTM, "decoder": {"width": 8}},
    "skip_gram": {"width": 8},
    "tagger": {"width": 8, "filters": 8, "encoder": LSTM, "bilm": {"width": 8, "filters": 8, "num_layers": 1}},
}
STACKED = [name for name in models.models.names() if name not in SMALL]
# Those whose tasks ask for lengths.
SPELT = ("bilm", "tagger")


def built(name: str, **options: Any) -> nn.Module:
    """Returns a small model; of one with two stacks both are small, and the attention is the decoder's.

    Of one without a stack the options of stacks, the same for all models, are left out.
    """
    if name in SMALL:
        return models.build(name, facts=FACTS, **SMALL[name])
    known = models.parameters_of(models.models.lookup(name))
    options = {**SIZES, **options}
    own = {key: value for key, value in options.items() if key in known}
    of_stacks = {key: value for key, value in options.items() if key not in known}
    if of_stacks:
        of_encoder = {key: value for key, value in of_stacks.items() if key != "attention"}
        own |= {"encoder": of_encoder, "decoder": of_stacks}
    return models.build(name, facts=FACTS, **own)


def task_of(model: nn.Module, logits: Any) -> str:
    """Returns the name of a task for a model."""
    for array, task in (("passage", "span_extraction"), ("center", "skip_gram"), ("characters", "bidirectional_lm")):
        if array in model.reads:
            return task
    if logits.ndim == 3 and "tokens" in model.reads:
        return "tagging"
    return "token_prediction" if logits.ndim == 3 else "classification"


def test_models_without_a_stack_are_those():
    def has_stack(name):
        fields = [parameter.default for parameter in option_parameters(models.models.lookup(name)).values()]
        return any(isinstance(default, StackOptions) for default in fields)

    assert [name for name in models.models.names() if has_stack(name)] == STACKED


@pytest.mark.parametrize("variant", widely(SPECS))
@pytest.mark.parametrize("name", STACKED)
def test_any_model_takes_any_variant_that_can_do_its_work(name, variant):
    # A language model takes one that may leak the future only where it is told to.
    leaks = name not in BIDIRECTIONAL and lookup(variant).claims.causal == "approximate"
    options = {"approximate_causal": True} if leaks else {}
    model = built(name, attention=variant, **options)
    arrays = models.arrays_of(model, BATCH)
    if leaks:
        untold = built(name, attention=variant)
        with pytest.raises(Refused, match=f"{variant} can leak it: .*set approximate_causal=True"):
            jax.eval_shape(lambda: untold.init(jax.random.key(0), **arrays))
    if name in BIDIRECTIONAL and not lookup(variant).claims.bidirectional:
        with pytest.raises(Refused, match=f"{variant} .* needs a causal mask.* use variant scaled_dot"):
            jax.eval_shape(lambda: model.init(jax.random.key(0), **arrays))
        return
    if name not in BIDIRECTIONAL and lookup(variant).claims.causal == "no":
        with pytest.raises(Refused, match=f"predicts the next token, and {variant} has no causal form"):
            jax.eval_shape(lambda: model.init(jax.random.key(0), **arrays))
        return
    logits, variables = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), **arrays))
    assert logits.dtype == jnp.float32
    assert logits.shape[0] == 2
    assert {block_of(path).layer for path in flat(variables["params"]) if block_of(path)} == {0, 1}
    assert logits.shape == shape_by_default(name)


@functools.cache
def shape_by_default(name):
    """The shape of the logits of a model with scaled_dot."""
    model = built(name)
    arrays = models.arrays_of(model, BATCH)
    logits, _ = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), **arrays))
    return logits.shape


# What `compare --variants` refuses, by the reason: of language models, and of classifiers, which look both ways.
NO_CAUSAL_FORM = {"bigbird", "clustered", "linformer", "neighbourhood", "nystrom", "swin"}
MAY_LEAK = {"reformer_lsh", "routing"}
OF_THE_PAST_ALONE = {
    *("delta_net", "delta_product", "gated_delta_net", "kimi_delta", "rwkv7"),
    *("gated_linear", "gated_retention", "hgrn2", "mamba2", "retention"),
    *("cope", "forgetting", "moba", "nsa", "selective", "stick_breaking"),
}


def test_those_that_are_refused_are_these():
    causal = {name: lookup(name).claims.causal for name in names()}
    assert {name for name, claim in causal.items() if claim == "no"} == NO_CAUSAL_FORM
    assert {name for name, claim in causal.items() if claim == "approximate"} == MAY_LEAK
    assert {name for name in names() if not lookup(name).claims.bidirectional} == OF_THE_PAST_ALONE


def test_facts_of_the_data_are_filled_in_and_those_the_model_does_not_need_are_left_out():
    model = models.build("gpt", facts={**FACTS, "vocabulary": ["a", "b"]}, width=16)
    assert (model.vocabulary_size, model.length, model.stack.width) == (11, 8, 16)
    assert not hasattr(model, "num_classes")


def test_an_option_wins_over_a_fact():
    assert models.build("gpt", facts=FACTS, length=4).length == 4


def test_a_model_without_the_facts_it_needs_is_refused():
    facts = {"vocabulary_size": 11, "length": 8}
    message = r"^model 'vit' needs image_shape, num_classes; this data set has length, vocabulary_size: choose"
    with pytest.raises(Refused, match=message):
        models.build("vit", facts=facts)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gtp", {}, r"^there is no model 'gtp'\. Did you mean 'gpt'\?$"),
        ("gpt", {"widht": 8}, r"^model 'gpt' has no option 'widht' \(given 8\)\. Did you mean 'width'\?$"),
        ("gpt", {"parent": None}, r"^model 'gpt' has no option 'parent'"),
        ("vit", {"approximate_causal": True}, r"^model 'vit' has no option 'approximate_causal'"),
        ("transformer", {"encoder": {"widht": 8}}, r"^model 'transformer', encoder has no option 'widht' .* 'width'"),
    ],
)
def test_unknown_names_and_options_are_refused(name, options, message):
    with pytest.raises(Refused, match=message):
        models.build(name, facts=FACTS, **options)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        *((name, {"cross_attention": "scaled_dot"}) for name in ("gpt", "vit", "encoder_classifier")),
        *((name, {"logit_cap": 30.0}) for name in ("vit", "encoder_classifier")),
        *((name, {"embedding_width": 4}) for name in ("gpt", "vit", "transformer")),
        ("vit", {"embedding_norm": True}),
    ],
    ids=str,
)
def test_an_option_of_the_stack_that_a_model_does_not_read_is_refused(name, option):
    ((key, value),) = option.items()
    model = built(name, **option)
    arrays = models.arrays_of(model, BATCH)
    with pytest.raises(Refused, match=f"model {name} does not read {key}={value!r}: leave it out, which is "):
        jax.eval_shape(lambda: model.init(jax.random.key(0), **arrays))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reads": "inputs"}, r"^model 'mine' has reads='inputs': give a tuple of names, such as \('tokens',\)\.$"),
        ({"reads": ()}, r"^model 'mine' has reads=\(\): "),
        ({}, r"^model 'mine' has reads=\(\): "),
        ({"reads": ("inputs",), "may_read": "lengths"}, r"^model 'mine' has may_read='lengths': "),
        ({"reads": ("inputs", "image")}, r"^model 'mine' has 'image' in reads, which its __call__ does not take: add "),
        ({"reads": ("inputs",), "may_read": ("lengths",)}, r"^model 'mine' has 'lengths' in may_read, which its "),
    ],
)
def test_a_model_that_does_not_say_what_it_reads_is_refused(fields, message):
    def call(self, inputs: jax.Array) -> jax.Array:
        return inputs

    with pytest.raises(Refused, match=message):
        register("mine")(type("Mine", (nn.Module,), {**fields, "__call__": call}))
    assert "mine" not in models.models.names()
