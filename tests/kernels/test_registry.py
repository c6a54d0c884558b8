"""Variants by name: the spec strings, the options they carry, and what is said when one is wrong."""

import pytest

from attention_jax.kernels import Refused, Source, Variant, lookup, names
from attention_jax.kernels.specs import parse_spec, split_specs


def test_names_are_sorted_and_each_can_be_looked_up():
    assert names() == sorted(names())
    for name in names():
        variant = lookup(name)
        assert isinstance(variant, Variant)
        assert variant.name == variant.spec == name


def test_every_variant_says_what_it_is_and_where_it_comes_from():
    for name in names():
        variant = lookup(name)
        assert variant.doc.strip()
        assert variant.source.title in str(variant.source)
        assert variant.source.equation in str(variant.source)


@pytest.mark.parametrize(
    ("authors", "cited"),
    [
        ("Gu, Albert", "Gu 2024, A Title, part 1"),
        ("Dao, Tri and Gu, Albert", "Dao & Gu 2024, A Title, part 1"),
        ("Cho, K. and Dao, Tri and Gu, Albert", "Cho, Dao & Gu 2024, A Title, part 1"),
        ("Wei, F. and Cho, K. and Dao, Tri and Gu, Albert", "Wei et al. 2024, A Title, part 1"),
        ("Kimi Team", "Kimi Team 2024, A Title, part 1"),
    ],
)
def test_a_source_is_cited_by_its_authors_and_has_an_entry_for_a_bibliography(authors, cited):
    source = Source("A Title", "part 1", authors=authors, year=2024, venue="ICML 2024", arxiv=None)
    assert str(source) == cited
    first = authors.partition(",")[0].replace(" ", "").lower()
    named = authors if "," in authors else f"{{{authors}}}"
    assert source.bibtex.splitlines() == [
        f"@misc{{{first}2024a,",
        "  title = {{A Title}},",
        f"  author = {{{named}}},",
        "  year = {2024},",
        "  note = {ICML 2024, part 1}",
        "}",
    ]
    assert Source("this file", "none").bibtex == ""
    assert str(Source("this file", "none")) == "this file, none"


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("linear", ("linear", {})),
        (" linear ", ("linear", {})),
        ("performer:features=256", ("performer", {"features": 256})),
        (
            "x:a=1, b = two ,c=None,d=true,e=False,f=0.5",
            ("x", {"a": 1, "b": "two", "c": None, "d": True, "e": False, "f": 0.5}),
        ),
        ("folder/my_file.py:mine", ("folder/my_file.py:mine", {})),
        ("my_file.py:mine:window=8", ("my_file.py:mine", {"window": 8})),
    ],
)
def test_a_spec_is_a_name_and_options(spec, parsed):
    assert parse_spec(spec) == parsed


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "give a name, such as 'scaled_dot'"),
        (None, "attention None is not of the form NAME"),
        ("performer:features", "'features' is not an option with its value"),
        ("performer:2=3", "'2=3' is not an option with its value"),
        ("performer:features=2,features=3", "'features' is given twice"),
        ("performr", r"there is no attention variant 'performr'\. Did you mean 'performer'"),
        ("performer:featurs=3", r"variant 'performer' has no option 'featurs' \(given 3\)\. Did you mean 'features'"),
        ("performer:features=many", "variant 'performer' has option features='many', which is not int or None"),
        ("performer:features=2.5", "features=2.5, which is not int"),
        ("performer:features=true", "features=True, which is not int"),
        ("cosine:beta=true", "beta=True, which is not float"),
        ("performer:features=0", "performer has features=0: it needs at least 1"),
        ("additive:hidden=0", "additive has hidden=0"),
        ("cosine:beta=0.0", r"cosine has beta=0.0: it starts in \(0, 100\]"),
        ("sliding_window:window=0", r"Window\(0\): it must be a whole number of at least 1"),
    ],
)
def test_a_spec_that_is_wrong_is_refused_in_one_line(spec, message):
    with pytest.raises(Refused, match=message) as refusal:
        lookup(spec)
    assert "\n" not in str(refusal.value)


def test_options_are_known_with_their_defaults():
    assert lookup("performer").options == {"features": (None, None)}
    assert lookup("performer:features=64").options == {"features": (None, 64)}
    assert lookup("scaled_dot:scale=1").options == {"scale": (None, 1)}
    assert lookup("scaled_dot:scale=none".replace("none", "None")).options == {"scale": (None, None)}


def test_a_list_of_specs_is_split_between_them_and_not_between_their_options():
    assert split_specs("linear,performer:features=64,seed=1,uniform") == [
        "linear",
        "performer:features=64,seed=1",
        "uniform",
    ]
    assert split_specs(" linear , my_file.py:mine:window=8,") == ["linear", "my_file.py:mine:window=8"]
    assert split_specs("") == []
