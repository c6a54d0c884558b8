"""What a space is read from, and everything about it that is refused before the first trial."""

from typing import Any

import pytest
from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.study.search.base_config import Base
from attention_jax.study.search.domains import Choice, Options, Range
from attention_jax.study.search.space import Points, Space, chain, product, read_space, zip_
from tests.launch.command_line import RECALL

BASE = Base(ConfigDict(RECALL), {}, "recall.py")


def checked(given: Any) -> Space | Points:
    """Returns a space as a sweep of the recall task takes it."""
    return BASE.check(read_space(given))


def test_text_has_ranges_lists_and_options_of_a_variant():
    space = checked(
        "optimizer.learning_rate=log(1e-4, 1e-2) model.num_layers=int(2,6)\n"
        "optimizer.weight_decay=uniform(0,0.5,step=0.1) model.width=[16, 32] "
        "model.attention=[scaled_dot, performer:features=int(16,128,log), sliding_window:window=4]"
    )
    assert isinstance(space, Space)
    assert space.domains == {
        "optimizer.learning_rate": Range(1e-4, 1e-2, log=True),
        "model.num_layers": Range(2, 6, whole=True),
        "optimizer.weight_decay": Range(0.0, 0.5, step=0.1),
        "model.width": Choice((16, 32)),
        "model.attention": Choice(
            (
                "scaled_dot",
                Options("performer", (("features", Range(16, 128, whole=True, log=True)),)),
                "sliding_window:window=4",
            )
        ),
    }


@pytest.mark.parametrize(
    "given",
    [
        ConfigDict({"model": {"num_layers": "int(2,6)", "width": [16, 32]}}),
        {"model.num_layers": Range(2, 6, whole=True), "model.width": (16, 32)},
        Space({"model.num_layers": Range(2, 6, whole=True), "model.width": Choice((16, 32))}),
    ],
)
def test_a_config_file_says_the_same_in_python(given):
    assert checked(given) == checked("model.num_layers=int(2,6) model.width=[16,32]")


def test_what_a_space_says_of_itself_is_read_as_itself():
    text = "optimizer.learning_rate=log(0.0001,0.01) model.attention=[linear,performer:features=int(8,64,step=8)]"
    assert str(read_space(text)) == text
    assert read_space(str(read_space(text))) == read_space(text)


def test_values_of_a_list_are_of_the_kind_of_their_key():
    space = checked(
        "model.width=[16] optimizer.learning_rate=[1,1e-3] model.use_bias=[true,false] model.hidden=[none,64]"
    )
    assert isinstance(space, Space)
    assert [domain.values for domain in space.domains.values() if isinstance(domain, Choice)] == [
        (16,),
        (1.0, 1e-3),
        (True, False),
        (None, 64),
    ]


def test_an_option_goes_on_with_its_variant():
    space = read_space("model.attention=[linear,my.py:mine:a=1,b=2,performer:features=int(2,4),uniform]")
    assert isinstance(space, Space)
    domain = space.domains["model.attention"]
    assert str(domain) == "[linear,my.py:mine:a=1,b=2,performer:features=int(2,4),uniform]"
    assert len(domain.listed()) == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the space is empty"),
        ("model.widht=[16]", "no key 'model.widht'. Did you mean 'model.width'?"),
        ("model=[16]", "config.model is a section"),
        ("model.width", "not of the form KEY=RANGE"),
        ("model.width=16", "one value is set by --config.KEY=VALUE"),
        ("model.width=[16", "bracket that is not closed"),
        ("model.width=[]", "empty list"),
        ("model.width=[16,16]", "twice"),
        ("optimizer.learning_rate=[1e-3,0.001]", "twice"),
        ("model.width=[16] model.width=[32]", "the space has model.width twice"),
        ("model.width=lgo(1,2)", "no range 'lgo'. Did you mean 'log'?"),
        ("model.width=int(1,2,3,4)", "not of a form that there is"),
        ("model.width=int(1)", "not of a form that there is"),
        ("model.num_layers=int(6,2)", "int(6,2) is reversed"),
        ("model.num_layers=int(2,2)", "int(2,2) is empty"),
        ("model.num_layers=int(1.5,3)", "'1.5' is not a whole number"),
        ("optimizer.learning_rate=log(0,1e-2)", "no logarithm of 0"),
        ("optimizer.learning_rate=log(-1,1e-2)", "no logarithm of -1"),
        ("optimizer.learning_rate=log(1e-2,1e-4)", "is reversed"),
        ("optimizer.learning_rate=uniform(0,nan)", "not a finite number"),
        ("optimizer.learning_rate=uniform(0,1,step=2)", "a step is above 0 and at most 1"),
        ("optimizer.learning_rate=log(1e-4,1,step=2)", "a logarithmic range has no step"),
        ("model.num_layers=uniform(1,4)", "it takes int: give int(LOW,HIGH)"),
        ("model.num_layers=[1,two]", "two is not int"),
        ("model.num_layers=[1.5]", "1.5 is not int"),
        ("model.attention=log(1,2)", "it takes str: give a list"),
        ("model.attention=[scaled_dto]", "Did you mean 'scaled_dot'?"),
        ("model.attention=[performer:featurs=int(1,2)]", "Did you mean 'features'?"),
        ("model.attention=[performer:features=int(2,1)]", "int(2,1) is reversed"),
        ("model.name=[gpt:a=int(1,2)]", "is an attention variant"),
        ("optimizer.name=[adamw,admaw]", "Did you mean 'adamw'?"),
        ("seed=[0,1]", "fresh seeds"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_line(text, said):
    with pytest.raises(Refused) as refusal:
        checked(text)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_key_that_the_command_sets_is_not_searched():
    base = Base(ConfigDict(RECALL), {"model.width": "16"}, "recall.py")
    with pytest.raises(Refused, match=r"model.width is in the space and set by --config.model.width"):
        base.check(read_space("model.width=[16,32]"))


def test_what_only_the_experiment_refuses_is_left_to_be_a_trial():
    assert checked("model.num_heads=[2,3] model.attention=[scaled_dot]")


def test_grids_multiply_zip_and_chain():
    wide = product({"model.width": [16, 32], "model.num_heads": "[1,2]"})
    together = zip_({"model.width": (64, 128), "optimizer.learning_rate": (1e-3, 1e-4)})
    assert [tuple(point.values()) for point in wide.points] == [(16, "1"), (16, "2"), (32, "1"), (32, "2")]
    joined = checked(chain(wide, together, wide))
    assert isinstance(joined, Points)
    assert len(joined.points) == 6
    assert joined.points[0] == {"model.width": 16, "model.num_heads": 1}
    assert joined.points[-1] == {"model.width": 128, "optimizer.learning_rate": 1e-4}
    assert len(product(together, {"model.num_layers": "int(1,3)"}).points) == 6


def test_a_grid_has_every_option_of_a_variant():
    points = read_space("model.attention=[linear,performer:features=int(8,24,step=8)]").points()
    assert [point["model.attention"] for point in points.points] == [
        "linear",
        "performer:features=8",
        "performer:features=16",
        "performer:features=24",
    ]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: zip_({"a": [1, 2], "b": [1]}), "a has 2, b has 1"),
        (lambda: product({"a": "log(1,2)"}), "space a: log(1.0,2.0) is no list"),
        (lambda: product({"a": []}), "space a: [] is an empty list"),
        (lambda: read_space(Points(())), "the space is empty"),
        (lambda: read_space(3), "give text"),
    ],
)
def test_a_grid_that_is_no_list_is_refused(make, said):
    with pytest.raises(Refused) as refusal:
        make()
    assert said in str(refusal.value)


def test_steps_that_are_no_binary_fraction_reach_the_end():
    assert Range(0.0, 0.5, step=0.1).listed() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
