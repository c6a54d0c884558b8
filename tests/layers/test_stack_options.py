"""The options of a stack: what is refused before there is an input, and patterns over the layers."""

import pytest

from attention_jax.kernels import Refused
from attention_jax.layers import StackOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 0}, r"^model\.num_layers=0: give at least 1\.$"),
        ({"num_kv_heads": 0}, r"^model\.num_kv_heads=0: give at least 1"),
        ({"hidden": 0}, r"^model\.hidden=0"),
        ({"width": -8}, r"^model\.width=-8"),
        ({"dropout_rate": 1.0}, r"^model\.dropout_rate=1\.0: give a share in \[0, 1\); 0 is no dropout\.$"),
        ({"dropout_rate": -0.1}, r"^model\.dropout_rate=-0\.1"),
        ({"remat": "dot"}, r"^there is no remat 'dot'\. Did you mean 'dots'\?$"),
        ({"remat": "nothing"}, r"^there is no remat 'nothing'\."),
        ({"norm_position": "before"}, r"^there is no norm_position 'before'"),
        ({"norm_position": "prost"}, r"^there is no norm_position 'prost'\. Did you mean 'post'\?"),
        ({"norm": "batch"}, r"^there is no norm 'batch'"),
        ({"activation": "sliu"}, r"^there is no activation 'sliu'\. Did you mean 'silu'\?"),
        ({"attention": ()}, r"^model\.attention=\(\) is a pattern of nothing"),
        ({"window": (3, 0)}, r"^model\.window=\(3, 0\): give at least 1, or None"),
        ({"first_norm": False, "norm_position": "post"}, r"^model\.first_norm=False is of norms before each half"),
        ({"residual": "attention"}, r"^there is no residual 'attention'\. Did you mean 'attention_over_depth'\?"),
        (
            {"residual": "attention_over_depth", "norm_position": "post"},
            r"^model\.residual='attention_over_depth' has no sum that norm_position='post' could normalise: give norm",
        ),
        ({"value_residual": "learnt"}, r"^there is no value_residual 'learnt'\. Did you mean 'learned'\?"),
        (
            {"value_residual": "fixed", "num_layers": 1},
            r"^model\.value_residual='fixed' mixes in the values of the first layer, and num_layers=1 has no other",
        ),
        ({"shared_positions": True}, r"^model\.shared_positions=True shares .* positions='learned' is of no layer"),
        ({"layer_groups": 3}, r"^model\.layer_groups=3 does not divide num_layers=4"),
        (
            {"layer_groups": 2, "window": (3, None)},
            r"^model\.layer_groups=2 makes layers .* and model\.window",
        ),
        ({"use_bias": ("query", "outt")}, r"^model\.use_bias names no projection 'outt'\. Did you mean 'out'\?"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options, message):
    with pytest.raises(Refused, match=message):
        StackOptions(**options)


def test_a_pattern_cycles_over_the_layers_from_the_first():
    options = StackOptions(attention=("linear", "linear", "scaled_dot"), window=(4, None), num_layers=5)
    assert [options.of_layer("attention", layer) for layer in (1, 2, 3, 4, 5)] == [
        "linear", "linear", "scaled_dot", "linear", "linear"
    ]  # fmt: skip
    assert [options.of_layer("window", layer) for layer in (1, 2, 3)] == [4, None, 4]
    assert options.of_layer("positions", 3) == "learned"


def test_positions_are_in_the_embeddings_or_in_the_logits():
    told = {spec: (StackOptions(positions=spec).embedded_positions, StackOptions(positions=spec).encoding_of(1))
            for spec in ("learned", "sinusoidal", "complex_order", "rope:base=100.0", "none")}  # fmt: skip
    assert told == {
        "learned": ("learned", None),
        "sinusoidal": ("sinusoidal", None),
        "complex_order": ("complex_order", None),
        "rope:base=100.0": (None, "rope:base=100.0"),
        "none": (None, None),
    }
    pattern = StackOptions(positions=("rope", "rope", "rope", "none"))
    assert [pattern.encoding_of(layer) for layer in (3, 4, 5)] == ["rope", None, "rope"]
    assert pattern.embedded_positions is None


def test_no_positions_are_none_by_the_word_and_by_what_a_command_line_makes_of_it():
    assert StackOptions(positions=None) == StackOptions(positions="none")


def test_biases_are_of_all_projections_of_none_or_of_those_named():
    assert StackOptions(use_bias=("query", "key")).has_bias("key")
    assert not StackOptions(use_bias=("query", "key")).has_bias("out")
    assert StackOptions().has_bias("out")
