"""Freezing, rates and decay with depth: what they change, what they leave, what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import quick_jit
from attention_jax.kernels import Refused
from attention_jax.training import Experiment, config
from attention_jax.training.by_path import multipliers
from attention_jax.training.optimizer import build_optimizer
from tests.training import tiny
from tests.training.config_files import minimal
from tests.training.parameters import HEAD, QUERY, SCANNED, TOKEN, drawn, flat

PARAMS, GRADIENTS, STACKED = drawn(0), drawn(1), drawn(0, SCANNED)
ATTENTION = ".*/attention/.*"


def updates(params=PARAMS, gradients=GRADIENTS, **options):
    """Returns the first updates by path, and the state after them."""
    optimizer, _ = build_optimizer(
        **{"steps": 9, "learning_rate": 0.1, "schedule": {"name": "constant"}, "clip_norm": None, **options}
    )
    changes, state = quick_jit(lambda: optimizer.update(gradients, optimizer.init(params), params))()
    return flat(changes), state


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_rates_multiply_the_learning_rate_and_the_decay_with_it(name):
    options = {"name": name, "weight_decay": 0.3}
    plain, _ = updates(**options)
    scaled, _ = updates(rates=((ATTENTION, 0.25), ("head/kernel", 2), (QUERY, 0.25)), **options)
    expected = {path: 0.25 if "/attention/" in path else 2 if path == HEAD else 1 for path in plain}
    for path, factor in expected.items():
        np.testing.assert_allclose(scaled[path], factor * plain[path], rtol=1e-6, err_msg=path)
    assert set(expected.values()) == {0.25, 1, 2}


def test_updates_keep_the_dtype_of_the_parameters():
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), STACKED)
    changes, _ = updates(half, half, rates=((HEAD, 0.5),), layer_decay=0.5, freeze=("norm/.*",))
    assert {change.dtype for change in changes.values()} == {jnp.dtype(jnp.bfloat16)}


def test_the_rate_decays_from_each_block_to_the_one_below():
    by = flat(multipliers(PARAMS, rates=((HEAD, 3.0),), layer_decay=0.5))
    # Bao et al. 2021: of L = 2 blocks, the embeddings lie L + 1 below the head.
    expected = {
        "token": 1 / 8, "position": 1 / 8, "class_token": 1 / 8, "patch": 1 / 8, "block_0": 1 / 4, "block_1": 1 / 2,
        "norm": 1, "head": 3,
    }  # fmt: skip
    assert by == {path: expected[path.split("/")[0]] for path in flat(PARAMS)}


def test_every_stack_has_its_own_depth():
    shapes = {
        "encoder": {f"block_{i}": {"kernel": (2, 2)} for i in range(3)},
        "decoder": {"block_0": {"kernel": (2, 2)}},
    }
    by = flat(multipliers(drawn(0, shapes), rates=(), layer_decay=0.5))
    assert by == {
        "encoder/block_0/kernel": 1 / 8, "encoder/block_1/kernel": 1 / 4, "encoder/block_2/kernel": 1 / 2,
        "decoder/block_0/kernel": 1 / 2,
    }  # fmt: skip


def test_blocks_that_are_scanned_over_have_the_rates_of_blocks_that_are_not():
    apart = flat(multipliers(PARAMS, rates=((ATTENTION, 3.0),), layer_decay=0.5))
    stacked = flat(multipliers(STACKED, rates=((ATTENTION, 3.0),), layer_decay=0.5))
    assert stacked.keys() == flat(STACKED).keys()
    for path, by in stacked.items():
        for layer in (0, 1):
            of_layer = by[layer].item() if path.startswith("blocks/") else by
            assert of_layer == apart[path.replace("blocks/", f"block_{layer}/")]


def test_what_is_frozen_stays_to_the_bit_and_the_rest_learns_as_without_it():
    params = drawn(0)
    # The sign of a zero is a bit, and 0.0 added to it loses it.
    params["token"]["embedding"][0] = -0.0
    changes, _ = updates(params, freeze=("token/.*", ATTENTION), weight_decay=0.5)
    free, _ = updates(params, weight_decay=0.5)
    after = flat(jax.tree.map(jnp.add, params, jax.tree.unflatten(jax.tree.structure(params), changes.values())))
    for path, before in flat(params).items():
        if path == TOKEN or "/attention/" in path:
            assert np.asarray(after[path]).tobytes() == before.tobytes(), path
        else:
            np.testing.assert_array_equal(changes[path], free[path])
            assert (changes[path] != 0).any()


@pytest.mark.parametrize("name", ["adamw", "lion", "adafactor", "muon"])
def test_what_is_frozen_has_no_state(name):
    _, all_state = updates(name=name)
    _, state = updates(name=name, freeze=("token/.*", "block_1/.*"))
    frozen = {path for path in flat(PARAMS) if path.startswith(("token", "block_1"))}
    assert not [path for path in flat(state) if path.endswith(tuple(frozen))]
    assert [path for path in flat(all_state) if path.endswith(tuple(frozen))]
    assert [path for path in flat(state) if path.endswith(QUERY)]


def test_what_is_frozen_is_in_no_norm():
    gradients = jax.tree.map(np.zeros_like, PARAMS)
    gradients["token"]["embedding"][0, 0] = 1e6
    gradients["head"]["kernel"][0, :2] = 3, 4
    options = {"name": "sgd", "learning_rate": 1.0}
    changes, _ = updates(gradients=gradients, clip_norm=1.0, freeze=(TOKEN,), **options)
    np.testing.assert_allclose(changes[HEAD][0, :2], [-0.6, -0.8], rtol=1e-6)
    # Nor does one that is not finite reach the others.
    gradients["token"]["embedding"][0, 0] = np.nan
    changes, _ = updates(gradients=gradients, clip_norm=1.0, freeze=(TOKEN,), **options)
    np.testing.assert_allclose(changes[HEAD][0, :2], [-0.6, -0.8], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"freeze": ("tokens/.*",)},
            r"^optimizer\.freeze: 'tokens/\.\*' matches the whole path of no parameter that is trained\. The nearest "
            r"path is 'token/embedding'\.$",
        ),
        # A part of a path is not the path.
        ({"freeze": ("token/.*", "head")}, r"^optimizer\.freeze: 'head' matches .* nearest path is 'head/kernel'\.$"),
        ({"rates": (("blck_0/.*", 0.1),)}, r"^optimizer\.rates: 'blck_0/\.\*' matches the whole path of no parameter"),
        # The rate of what does not learn.
        (
            {"rates": ((TOKEN, 0.1),), "freeze": (TOKEN,)},
            r"^optimizer\.rates: 'token/embedding' matches the whole path",
        ),
        (
            {"rates": ((".*/kernel", 0.1), (HEAD, 0.1), ("head/.*", 0.2))},
            r"^optimizer\.rates: '\.\*/kernel' gives head/kernel the multiplier 0\.1 and 'head/\.\*' 0\.2: narrow one",
        ),
        (
            {"freeze": ("[a-m].*", "[n-z].*")},
            r"^optimizer\.freeze=\('\[a-m\]\.\*', .*\) freezes all 23 parameters: leave",
        ),
        ({"layer_decay": 0.5, "freeze": ("block_.*",)}, r"^optimizer\.layer_decay: no trained parameter is of a block"),
        ({"name": "muon", "freeze": ("block_.*",)}, r"^optimizer muon: no trained parameter is a kernel of a block"),
    ],
)
def test_what_the_parameters_do_not_fit_is_refused_when_they_are_seen(options, message):
    optimizer, _ = build_optimizer(steps=9, **options)
    with pytest.raises(Refused, match=message):
        optimizer.init(PARAMS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": "token/.*"}, r"^optimizer\.freeze='token/\.\*': give a tuple of patterns of paths, such as \('tok"),
        ({"freeze": (1,)}, r"^optimizer\.freeze=\(1,\): give a tuple of patterns"),
        ({"freeze": ("token/(",)}, r"^optimizer\.freeze: 'token/\(' is no regular expression: missing \)"),
        (
            {"rates": ("token/.*", 0.1)},
            r"^optimizer\.rates=\('token/\.\*', 0\.1\): give a tuple of \(pattern of paths,",
        ),
        ({"rates": (("token/.*", "0.1"),)}, r"^optimizer\.rates=.*: give a tuple of \(pattern"),
        ({"rates": (("*", 0.1),)}, r"^optimizer\.rates: '\*' is no regular expression: nothing to repeat"),
        (
            {"rates": (("head/.*", 0),)},
            r"^optimizer\.rates: the multiplier 0 of 'head/\.\*' is not above 0 .*freeze\.$",
        ),
        ({"rates": (("head/.*", float("nan")),)}, r"^optimizer\.rates: the multiplier nan"),
        ({"layer_decay": 0.0}, r"^optimizer\.layer_decay=0\.0: give a number above 0 and at most 1"),
        ({"layer_decay": 1.1}, r"^optimizer\.layer_decay=1\.1: give a number above 0 and at most 1"),
    ],
)
def test_what_no_parameters_could_fit_is_refused_at_once(options, message):
    with pytest.raises(Refused, match=message):
        build_optimizer(steps=9, **options)


def test_an_experiment_refuses_a_pattern_that_matches_nothing_before_it_trains():
    with pytest.raises(
        Refused, match=r"^optimizer\.freeze: 'tokens/\.\*' matches .* nearest path is 'token/embedding'"
    ):
        Experiment(**tiny.sections(optimizer={"freeze": ("tokens/.*",)}))


def test_patterns_come_from_the_command_line_and_from_the_file(written):
    overrides = {"optimizer.freeze": "('token/.*',)", "optimizer.rates": "(('head/.*', 0.1), ('norm/.*', 2))"}
    said = config.load(written(minimal()), overrides).optimizer.to_dict()
    assert (said["freeze"], said["rates"]) == (("token/.*",), (("head/.*", 0.1), ("norm/.*", 2)))
    filed = config.load(written(minimal(optimizer={key: said[key] for key in ("freeze", "rates")})))
    assert filed.optimizer.to_dict() == said
    # One pattern needs no tuple.
    one = config.load(written(minimal()), {"optimizer.freeze": "token/.*"})
    assert one.optimizer.freeze == ("token/.*",)
    assert "optimizer.freeze = ('token/.*',)" in config.show(one).splitlines()
