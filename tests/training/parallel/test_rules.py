"""Rules that say where parameters lie: which one counts, what is refused, and that every model has its own."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from attention_jax import models
from attention_jax.contract.cases import SPECS
from attention_jax.kernels import Refused, lookup
from attention_jax.layers.spread import AXES
from attention_jax.layers.stack import PARAMETER_RULES
from attention_jax.training.optimizer import build_optimizer, decays
from attention_jax.training.parallel.rules import parameter_specs, state_shardings
from attention_jax.training.state import TrainState, create_state
from tests.models.test_catalogue import BATCH, BIDIRECTIONAL, FACTS, SMALL, STACKED, built
from tests.training.parameters import flat

MESH = AbstractMesh((1, 2, 2, 1), AXES, axis_types=(AxisType.Auto,) * 4)
KERNEL, BIAS, TABLE = "block_0/attention/query/kernel", "block_0/attention/query/bias", "token/embedding"


def shaped(shapes: Any) -> Any:
    """Shapes in place of tuples of sizes."""
    return jax.tree.map(lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32), shapes, is_leaf=_is_shape)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple)


ATTENTION = {"query": {"kernel": (4, 2, 6), "bias": (2, 6)}, "out": {"kernel": (2, 6, 4)}}
PARAMS = shaped({"token": {"embedding": (6, 4)}, "block_0": {"attention": ATTENTION}})


def specs(*own: Any, table: Any = PARAMETER_RULES, params: Any = PARAMS, mesh: AbstractMesh = MESH) -> dict[str, P]:
    """The spec of each parameter by its path; `own` are the rules of the config."""
    found = parameter_specs(params, model_rules=table, rules=own, mesh=mesh)
    return dict(zip(flat(params), jax.tree.leaves(found, is_leaf=lambda x: isinstance(x, P)), strict=True))


def test_a_table_says_where_each_parameter_lies():
    assert specs() == {
        TABLE: P(None, "fsdp"),
        KERNEL: P("fsdp", "tensor"),
        BIAS: P("tensor"),
        "block_0/attention/out/kernel": P("tensor", None, "fsdp"),
    }


def test_a_rule_of_the_config_comes_before_those_of_the_model():
    one = AbstractMesh((1, 1, 1, 1), AXES, axis_types=(AxisType.Auto,) * 4)
    found = specs((".*/kernel", ()), ("block_0/.*/bias", (None, ("fsdp", "tensor"))), mesh=one)
    assert found[KERNEL] == found["block_0/attention/out/kernel"] == P()
    assert found[BIAS] == P(None, ("fsdp", "tensor"))
    assert found[TABLE] == P(None, "fsdp")


def test_lists_are_as_good_as_tuples_and_two_rules_may_agree():
    found = specs([TABLE, [["data", "fsdp"], "tensor"]], (".*/embedding", (("data", "fsdp"), "tensor")))
    assert found[TABLE] == P(("data", "fsdp"), "tensor")


def test_blocks_that_are_scanned_over_are_whole_along_their_layers():
    found = specs(params=shaped({"blocks": {"attention": {"query": {"kernel": (3, 4, 2, 6), "bias": (3, 2, 6)}}}}))
    assert found == {
        "blocks/attention/query/kernel": P(None, "fsdp", "tensor"),
        "blocks/attention/query/bias": P(None, "tensor"),
    }


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (((TABLE, ()), ("token/.*", ("fsdp",))), r"^parameter token/embedding has two rules that disagree, "
            r"'token/embedding' -> \(\) and 'token/\.\*' -> \('fsdp',\): narrow one of them\.$"),
        ((("head/.*", ()),), r"^parameter_rules: 'head/\.\*' matches no parameter\."),
        # A rule is for whole paths.
        (("embedding", ()), r"^parameter rule 'embedding': give \(regular expression, axes\), such as"),
        ((("embedding", ()),), r"^parameter_rules: 'embedding' matches no parameter\."),
        ((TABLE,), r"^parameter rule 'token/embedding': give \(regular expression, axes\)"),
        (((TABLE, (), ()),), r"^parameter rule \('token/embedding', \(\), \(\)\): give"),
        (((TABLE, "fsdp"),), r"^parameter rule \('token/embedding', 'fsdp'\): give \(regular expression, axes\)"),
        (((TABLE, None),), r"^parameter rule \('token/embedding', None\): give"),
        (((3, ()),), r"^parameter rule \(3, \(\)\): give"),
        ((("(token", ()),), r"^parameter rule '\(token' is no regular expression: missing \), unterminated"),
        (((TABLE, ("fsp",)),), r"^parameter rule 'token/embedding': there is no mesh axis 'fsp'\. Did you mean 'fsdp'"),
        (((TABLE, (2,)),), r"^parameter rule 'token/embedding': there is no mesh axis 2\."),
        (((TABLE, ("fsdp", "fsdp")),), r"^parameter rule 'token/embedding' -> \('fsdp', 'fsdp'\) names a mesh axis tw"),
        (((TABLE, ("fsdp", ("data", "fsdp"))),), r"names a mesh axis twice: give each once\.$"),
        (((TABLE, (None, None, "fsdp")),), r"^parameter token/embedding \[6, 4\] has 2 axes and its rule 3: \(None"),
        (((KERNEL, (None, None, ("fsdp", "tensor"))),), r"^parameter block_0/attention/query/kernel \[4, 2, 6\]: 4 dev"
            r"ices of mesh axis \('fsdp', 'tensor'\) do not divide 6\. Change the mesh or the model, or give it a rule "
            r"of its own in config\.parameter_rules, such as \(\('block_0/attention/query/kernel', \(\)\),\) for"),
    ],
)  # fmt: skip
def test_rules_of_a_config_that_cannot_be_kept_are_refused(own, message):
    with pytest.raises(Refused, match=message) as caught:
        specs(*own)
    assert "\n" not in str(caught.value)


def test_what_is_no_table_is_refused():
    for rules in ("token/embedding", 3, {"token/embedding": ()}):
        with pytest.raises(Refused, match=r"^parameter_rules=.*: give a tuple of rules, such as"):
            parameter_specs(PARAMS, model_rules=PARAMETER_RULES, rules=rules, mesh=MESH)


def test_a_parameter_without_a_rule_is_refused_with_one_that_would_do():
    params = {**PARAMS, "new": shaped({"kernel": (4, 5)})}
    message = r"^no rule says where parameter new/kernel \[4, 5\] lies: add one to config\.parameter_rules, such as "
    with pytest.raises(Refused, match=message + r"\(\('new/kernel', \(\)\),\) for whole on every device\.$"):
        specs(params=params)
    assert specs(("new/kernel", ()), params=params)["new/kernel"] == P()


def test_a_parameter_without_a_rule_is_whole_where_no_axis_splits_parameters():
    params = shaped({"token": {"embedding": (6, 4)}, "new": {"kernel": (4, 5)}})
    for sizes, split in (((4, 1, 1, 2), False), ((1, 2, 1, 1), True), ((1, 1, 2, 1), True)):
        mesh = AbstractMesh(sizes, AXES, axis_types=(AxisType.Auto,) * 4)
        if split:
            with pytest.raises(Refused, match=r"^no rule says where parameter new/kernel \[4, 5\] lies"):
                specs(params=params, mesh=mesh)
        else:
            assert specs(params=params, mesh=mesh) == {"new/kernel": P(), TABLE: P(None, "fsdp")}
            assert set(specs(params=params, table=(), mesh=mesh).values()) == {P()}


def test_a_table_of_a_model_that_contradicts_itself_is_refused():
    with pytest.raises(Refused, match=r"^parameter token/embedding has two rules that disagree"):
        specs(table=(*PARAMETER_RULES, (".*/embedding", ())))


@pytest.mark.parametrize("name", SMALL)
def test_every_model_without_a_stack_has_a_rule_for_each_parameter(name):
    model = built(name)
    characters = {f"{text}_characters": jnp.zeros((2, 8, 4), jnp.int32) for text in ("passage", "question")}
    arrays = models.arrays_of(model, {**BATCH, **characters})
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), **arrays))["params"]
    found = specs(table=model.parameter_rules, params=params)
    assert found.keys() == flat(params).keys()
    assert any("fsdp" in spec for spec in found.values())


@pytest.mark.parametrize("name", STACKED)
def test_every_model_has_a_rule_for_each_parameter_of_each_variant(name):
    def paths(variant, **options):
        model = built(name, attention=variant, num_layers=1, **options)
        arrays = models.arrays_of(model, BATCH)
        params = jax.eval_shape(lambda: model.init(jax.random.key(0), **arrays))["params"]
        return set(specs(table=model.parameter_rules, params=params))

    looks_both_ways = name in BIDIRECTIONAL
    claims = {spec: lookup(spec).claims for spec in SPECS}
    fitting = [
        spec for spec in claims if (claims[spec].bidirectional if looks_both_ways else claims[spec].causal != "no")
    ]
    options = {} if looks_both_ways else {"approximate_causal": True}
    fitting += [f"scaled_dot:recipe={name}" for name in ("gated", "gated_by_head", *(["canon"] if options else []))]
    found = {path for spec in fitting for path in paths(spec, use_bias=True, **options)}
    assert any("/variant_" in path for path in found)
    assert looks_both_ways or any("/input_" in path for path in found)
    scanned = paths("scaled_dot", scan_layers=True, norm_position="post")
    assert any("blocks" in path.split("/")[:2] for path in scanned)


def test_what_a_recipe_has_of_each_head_lies_with_the_heads():
    def lie(variant):
        model = built("gpt", attention=variant, num_layers=1, num_heads=2, width=8)
        params = jax.eval_shape(lambda: model.init(jax.random.key(0), **models.arrays_of(model, BATCH)))["params"]
        found = specs(table=model.parameter_rules, params=params)
        assert not [path for path, decayed in flat(decays(params)).items() if decayed and path.endswith("/taps")]
        return {path.partition("attention/")[2]: spec for path, spec in found.items()}

    found = lie("mamba2") | lie("kimi_delta") | lie("scaled_dot:recipe=canon")
    assert found["output_gate/kernel"] == P("fsdp", "tensor")
    assert found["narrow_output_gate/kernel"] == found["value_convolution/taps"] == P(None, "tensor")
    assert found["value_skip"] == P("tensor")
    assert found["inputs_convolution/taps"] == P()


def test_what_reads_the_layers_below_lies_with_the_values_or_whole():
    def lie(**options):
        model = built("gpt", num_layers=2, num_heads=2, width=8, **options)
        params = jax.eval_shape(lambda: model.init(jax.random.key(0), **models.arrays_of(model, BATCH)))["params"]
        found = specs(table=model.parameter_rules, params=params)
        return {path: spec for path, spec in found.items() if "value_residual" in path or "_depth/" in path}

    assert lie(value_residual="learned", scan_layers=True) == {"blocks/attention/value_residual/share": P(None)}
    found = lie(value_residual="per_token", residual="attention_over_depth", use_bias=True)
    assert found.pop("out_depth/query") == P()
    assert {path.partition("/")[2]: spec for path, spec in found.items() if path.startswith("block_1/")} == {
        "attention/value_residual/share/kernel": P("fsdp", "tensor"),
        "attention/value_residual/share/bias": P("tensor"),
        "attention_depth/query": P(),
        "feed_forward_depth/query": P(),
    }


def state_of(name: str, **options: Any) -> TrainState:
    """The shapes of the state of a small model, whose kernels are 8 wide and more."""
    optimizer, _ = build_optimizer(steps=3, name=name, **options)
    model = models.build("gpt", facts=FACTS, num_layers=1, num_heads=2, width=8, attention="performer:features=4")
    inputs = {"inputs": jnp.zeros((1, 8), jnp.int32)}
    return jax.eval_shape(lambda: create_state(model, inputs, optimizer, seed=0, with_average=True))


@pytest.mark.parametrize(
    ("name", "options", "of_kernel", "of_table"),
    [
        ("adamw", {}, 2, 2),
        ("sgd", {"momentum": 0.9}, 1, 1),
        ("adafactor", {"min_dim_size_to_factor": 1000}, 1, 1),
        ("muon", {}, 1, 2),
        ("adamw", {"freeze": ("token/.*",), "rates": (("block_0/.*", 0.1),)}, 2, 0),
    ],
)
def test_what_is_of_a_parameter_lies_as_it_does(name, options, of_kernel, of_table):
    state = state_of(name, **options)
    wanted = parameter_specs(state.params, model_rules=PARAMETER_RULES, rules=(), mesh=MESH)
    found = state_shardings(state, wanted, MESH)
    assert flat(found.params).keys() == flat(wanted).keys() == flat(found.average).keys()
    assert {path: place.spec for path, place in flat(found.average).items()} == flat(wanted)
    seen = dict.fromkeys(flat(wanted), 0)
    for path, place in flat(found.opt_state).items():
        mine = [known for known in seen if path.endswith(f"/{known}")]
        if mine and flat(state.opt_state)[path].shape == flat(state.params)[mine[0]].shape:
            seen[mine[0]] += 1
            assert place.spec == flat(wanted)[mine[0]], path
        else:
            assert place.spec == P(), path
    assert (seen[KERNEL], seen[TABLE]) == (of_kernel, of_table)
    whole = (found.step, found.key, found.bad_step, found.skipped, found.typical_norm, *jax.tree.leaves(found.buffers))
    assert all(place.spec == P() for place in whole)
    assert len(whole) > 5


def test_an_array_that_an_optimizer_factors_is_whole():
    state = state_of("adafactor", min_dim_size_to_factor=4)
    wanted = parameter_specs(state.params, model_rules=PARAMETER_RULES, rules=(), mesh=MESH)
    places = flat(state_shardings(state, wanted, MESH).opt_state)
    kernel = "block_0/feed_forward/hidden/kernel"
    assert flat(wanted)[kernel] == P("fsdp", "tensor")
    factored = {path: leaf.shape for path, leaf in flat(state.opt_state).items() if path.endswith(kernel)}
    assert {(8,), (32,)} <= set(factored.values())
    assert all(places[path].spec == P() for path in factored)
