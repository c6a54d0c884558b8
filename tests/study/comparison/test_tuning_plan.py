"""How a comparison is tuned, from text or a config: what is accepted, and the line that refuses the rest."""

import re

import pytest
from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.study.comparison.tuning import search_seed
from attention_jax.study.comparison.tuning_plan import Tuning, read_tuning
from attention_jax.study.comparison.variation import ATTENTION, PATCHES, Variation, choices
from attention_jax.study.search.space import Points, product
from attention_jax.training import config
from tests.launch.command_line import RECALL

BASE = config.finish(ConfigDict(RECALL), {}, owner="recall.py")
GRID = "optimizer.learning_rate=[1e-3,3e-3]"
RANGE = "optimizer.learning_rate=log(1e-4,1e-2)"


def read(
    space: object = GRID, *, key: str = ATTENTION, variants: str = "scaled_dot,performer", **given: object
) -> Tuning:
    tuning = read_tuning(None, {"space": space, **given}, Variation(key, choices(key, variants), {"r": BASE}), (0, 1))
    assert tuning is not None
    return tuning


def test_an_empty_space_leaves_out_the_tuning_of_the_config():
    variation = Variation(ATTENTION, choices(ATTENTION, "scaled_dot"), {"r": BASE})
    assert read_tuning({"space": GRID}, {"space": ""}, variation, (0, 1)) is None


def test_lists_are_a_grid_that_every_variant_gets_whole():
    tuning = read(f"{GRID} optimizer.weight_decay=[0.0,0.1]")
    assert (tuning.sampler, tuning.trials, tuning.rising) == ("grid", 4, {"r": False})
    assert tuning.keys == ("optimizer.learning_rate", "optimizer.weight_decay")
    searches = [tuning.search("r", variant) for variant in ("scaled_dot", "performer")]
    points = [[search.ask() for _ in range(4)] for search in searches]
    assert points[0] == points[1]
    assert points[0][0] == {"optimizer.learning_rate": 1e-3, "optimizer.weight_decay": 0.0}


def test_ranges_take_as_many_trials_as_are_given():
    assert (read(RANGE, trials=5).sampler, read(RANGE, trials=5).trials) == ("tpe", 5)
    assert read(RANGE, trials=5, sampler="random").sampler == "random"


def test_points_are_a_grid_too():
    points = product({"optimizer.learning_rate": ["1e-3", "3e-3"]})
    tuning = read(points)
    assert isinstance(tuning.spaces["r", "performer"], Points)
    assert tuning.search("r", "performer").ask() == {"optimizer.learning_rate": 1e-3}


def test_the_section_of_a_config_holds_where_the_command_says_nothing():
    section = ConfigDict({"space": {"optimizer": {"learning_rate": "log(1e-4,1e-2)"}}, "trials": 4, "seed": 3})
    variation = Variation(ATTENTION, choices(ATTENTION, "scaled_dot"), {"r": BASE})
    tuning = read_tuning(section, {"space": None, "trials": 6}, variation, (0,))
    assert tuning is not None
    assert (tuning.trials, tuning.seed, tuning.sampler) == (6, 3, "tpe")
    assert read_tuning(None, {"space": None, "trials": None}, variation, (0,)) is None


TWO_OPTIONS = '''
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Source, register

@register(source=Source("this test", "none"), claims=Claims())
def of_two(kind: int = 1, width: int = 8) -> SoftmaxScore:
    """Has two options."""
    return SoftmaxScore()
'''


def test_options_of_a_variant_are_tuned_for_it_alone_beside_those_that_it_has(tmp_path):
    (tmp_path / "two.py").write_text(TWO_OPTIONS)
    name = f"{tmp_path / 'two.py'}:of_two"
    tuning = read(f"{RANGE} model.attention=[{name}:width=int(8,32)]", variants=f"scaled_dot,{name}:kind=3", trials=3)
    assert tuning.keys == ("optimizer.learning_rate",)
    assert list(tuning.search("r", "scaled_dot").ask() or {}) == ["optimizer.learning_rate"]
    found = tuning.search("r", f"{name}:kind=3").ask() or {}
    assert re.fullmatch(rf"{re.escape(name)}:kind=3,width=\d+", found["model.attention"])


@pytest.mark.parametrize(
    ("space", "given", "said"),
    [
        (" ", {}, "the space is empty"),
        ("optimizer.learning_rat=[1e-3,1e-2]", {}, "no key 'optimizer.learning_rat'. Did you mean 'optimizer.learning"),
        ("optimizer.learning_rate=log(1e-2,1e-3)", {"trials": 3}, "is reversed"),
        ("optimizer.learning_rate=[1e-3,0.001]", {}, "has 0.001 twice"),
        ("optimizer.learning_rate=[1e-3,fast]", {}, "fast is not float"),
        (RANGE, {}, "is no grid: give --trials=N"),
        (RANGE, {"trials": 0}, "trials=0: give at least 1"),
        (RANGE, {"trials": True}, "option trials=True, which is not int or None"),
        (RANGE, {"trials": 3, "sampler": "tpee"}, "there is no sampler 'tpee'. Did you mean 'tpe'?"),
        (RANGE, {"sampler": "grid"}, "is no list, which a grid needs"),
        (RANGE, {"trials": 3, "seeds": 1}, "config.tune has no option 'seeds' (given 1). Did you mean 'seed'?"),
        (GRID, {"trials": 5}, "trials=5: the grid has 2 points and each is tried"),
        (GRID, {"seed": -1}, "tune.seed=-1"),
        ("data.length=[8,16]", {}, "--tune: data.length changes what is measured"),
        ("evaluation.every=[5,10]", {}, "--tune: evaluation.every changes what is measured"),
        ("seed=[1,2]", {}, "--tune: seed: use --seeds instead"),
        ("steps=[10,20]", {}, "--tune: steps is the same for all variants"),
        ("batch_size=[8,16]", {}, "--tune: batch_size is the same for all variants"),
        ("checkpoint.best=[True,False]", {}, "--tune: checkpoint.best is the same for all variants"),
        (f"{GRID} model.attention=[scaled_dot,linear]", {}, "--tune: model.attention=scaled_dot is what varies"),
        (f"{GRID} model.attention=[linear:x=[1,2]]", {}, "'linear' has no option 'x'"),
        (f"{GRID} model.attention=[additive:hidden=[4,8]]", {}, "is of no variant that is compared"),
        (
            f"{GRID} model.attention=[performer:features=[8,16]]",
            {},
            "the grid of scaled_dot has 2 points and that of p",
        ),
        ("model.attention=[performer:features=[8,16]]", {}, "nothing of variant scaled_dot is tuned"),
    ],
)
def test_what_cannot_be_tuned_is_refused_in_a_line(space, given, said):
    with pytest.raises(Refused, match=re.escape(said)) as refusal:
        read(space, **given)
    assert "\n" not in str(refusal.value)


def test_what_varies_is_not_tuned():
    with pytest.raises(Refused, match=re.escape("--tune: model.width is what varies (in model.width=8)")):
        read("model.width=[8,16]", key="model.width", variants="8,16")
    with pytest.raises(Refused, match=re.escape("--tune: model.width is what varies (in wide:=model.width=32)")):
        read("model.width=[8,16]", key=PATCHES, variants="base:=,wide:=model.width=32")
    with pytest.raises(Refused, match="variant performer:features=8 sets features, which is tuned: name it performer"):
        read(f"{GRID} model.attention=[performer:features=[8,16]]", variants="performer:features=8")


def test_settings_without_a_space_and_the_seed_of_the_search_are_refused():
    variation = Variation(ATTENTION, choices(ATTENTION, "scaled_dot"), {"r": BASE})
    with pytest.raises(Refused, match="trials=3: nothing is tuned: give --tune"):
        read_tuning(None, {"trials": 3}, variation, (0,))
    with pytest.raises(Refused, match=f"seed {search_seed(0)} is that of the tuning"):
        read_tuning(None, {"space": GRID}, variation, (0, search_seed(0)))
    with pytest.raises(Refused, match=r"config\.tune='x': it is a section"):
        read_tuning("x", {}, variation, (0,))
