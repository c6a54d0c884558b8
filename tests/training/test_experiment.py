"""An experiment is checked when it is built, before any step."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from attention_jax.data import train_batches
from attention_jax.kernels import Refused
from attention_jax.training import Experiment
from tests.training import tiny
from tests.training.parameters import flat

DIGITS = {
    "data": {"name": "digits"},
    "task": {"name": "classification", "label_smoothing": 0.1},
    "model": {"name": "encoder_classifier", "num_layers": 1, "num_heads": 2, "width": 8},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 41}, r"^batch_size=41 is larger than the train split \(40 examples\)"),
        ({"batch_size": 0}, r"^batch_size=0: give at least 1"),
        ({"accumulation": 3}, r"^accumulation=3 does not divide batch_size=8"),
        ({"accumulation": 0}, r"^accumulation=0 does not divide"),
        ({"evaluation": {"batch_size": 0}}, r"^evaluation\.batch_size=0: give a whole number of at least 1"),
        ({"evaluation": {"batch_size": -4}}, r"^evaluation\.batch_size=-4"),
        ({"evaluation": {"every": -1}}, r"^evaluation\.every=-1"),
        ({"evaluation": {"evry": 1}}, r"^config\.evaluation has no option 'evry' .*Did you mean 'every'\?"),
        ({"checkpoint": {"keep": 0}}, r"^checkpoint\.keep=0: give a whole number of at least 1"),
        ({"checkpoint": {"every": -1}}, r"^checkpoint\.every=-1"),
        ({"seed": -1}, r"^seed=-1: give a whole number of at least 0"),
        ({"log": {"every": 0}}, r"^log\.every=0: give a whole number of at least 1"),
        ({"steps": 0}, r"^the length of a run is .* steps, epochs and examples are all 0: set one"),
        ({"epochs": 2.0}, r"steps=24 and epochs=2\.0 are set: set all but one to 0"),
        ({"mesh": {"data": 4096}}, r"^mesh\.data=4096 asks for 4096 devices and there are"),
        ({"mesh": {"data": 1, "tensor": -1, "fsdp": -1}}, r"^mesh\.fsdp and mesh\.tensor are -1"),
        ({"mesh": {"fspd": 2}}, r"^config\.mesh has no option 'fspd' .*Did you mean 'fsdp'\?"),
        ({"param_dtype": "bfloat"}, r"^there is no compute dtype 'bfloat'\. Did you mean 'bfloat16'\?"),
        ({"ema_decay": 1.0}, r"^ema_decay=1\.0: give a number between 0 and 1, such as 0\.999, or None for no average"),
        ({"ema_decay": 0.0}, r"^ema_decay=0\.0: give"),
        ({"attention_parallel": "rign"}, r"^there is no attention_parallel 'rign'\. Did you mean 'ring'\?"),
        ({"instability": {"action": "skpi"}}, r"^there is no instability\.action 'skpi'\. Did you mean 'skip'\?"),
        ({"instability": {"spike": 1.0}}, r"^instability\.spike=1\.0: give a number above 1, such as 5, or None\."),
        ({"instability": {"most_skipped": -1}}, r"^instability\.most_skipped=-1: give a whole number of at least 0"),
        ({"model": {"remat": "dot"}}, r"^there is no remat 'dot'\. Did you mean 'dots'\?"),
        ({"parameter_rules": (("tokn/.*", ()),)}, r"^parameter_rules: 'tokn/\.\*' matches no parameter\."),
        ({"parameter_rules": 3}, r"^parameter_rules=3: give a tuple of rules"),
        ({"optimizer": {"freeze": ("tokn/.*",)}}, r"^optimizer\.freeze: 'tokn/\.\*' matches the whole path of no"),
        ({"optimizer": {"schedule": {"warmup_steps": 24}}}, r"warmup_steps=24 is not in 0 to 23"),
        ({"model": {"num_heads": 3}}, r"^3 heads do not divide the width 8"),
        ({"model": {"attention": "performr"}}, r"no attention variant 'performr'\. Did you mean 'performer'\?"),
        ({"model": {"attention_dropout_rate": 0.1}}, r"does not take dropout of weights"),
        ({"model": {"name": "vit"}}, r"^model 'vit' needs image_shape, num_classes; this data set has length"),
        ({"task": {"name": "classification"}}, r"^task classification reads label: label is not in this data set"),
        ({"task": {"metric": "acc"}}, r"task token_prediction has no metric 'acc'"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_step(changes, message):
    with pytest.raises(Refused, match=message):
        Experiment(**tiny.sections(**changes))


def test_a_labelled_set_fits_a_classifier():
    experiment = Experiment(**tiny.sections(**DIGITS, epochs=2.0, steps=None, batch_size=100))
    assert experiment.steps == 22
    assert experiment.score_name == "test_accuracy"
    assert experiment.final_splits == ("validation", "test")


def test_without_a_batch_size_of_its_own_an_evaluation_takes_a_part_of_that_of_training():
    assert Experiment(**tiny.sections(evaluation={"batch_size": None}, accumulation=2)).evaluation_batch_size == 4


FREEZE = ("(token|position)/.*",)


@pytest.fixture(scope="module")
def all_of_it() -> Experiment:
    """Every option of the step at once."""
    return Experiment(
        **tiny.sections(
            accumulation=2,
            param_dtype="bfloat16",
            ema_decay=0.9,
            parameter_rules=((".*/hidden/kernel", (None, "tensor")),),
            optimizer={"freeze": FREEZE},
            instability={"action": "skip"},
            log={"layer_norms": True},
            model={"num_layers": 2, "scan_layers": True, "remat": "full", "dtype": "bfloat16"},
            mesh={"data": 1},
        )
    )


def test_options_of_the_step_are_those_of_the_config(all_of_it):
    state, (step, cost) = all_of_it.create_state(0), all_of_it.compiled_step
    batch = next(iter(train_batches(all_of_it.dataset.splits["train"], batch_size=8, seed=0)))
    params = {path: np.array(leaf) for path, leaf in flat(state.params).items()}
    rate = all_of_it.put_rate(all_of_it.learning_rate)
    state, metrics = step(state, all_of_it.put(batch), rate)
    changed = {path: bool((np.asarray(leaf) != params[path]).any()) for path, leaf in flat(state.params).items()}
    assert [path for path in changed if not changed[path]] == ["position/embedding", "token/embedding"]
    assert float(metrics["gradient_norm/token"]) == 0 < float(metrics["gradient_norm/block_1"])
    layers = [float(metrics[f"gradient_norm/{layer}"]) for layer in ("block_0", "block_1", "norm")]
    assert float(metrics["gradient_norm"]) == pytest.approx(np.linalg.norm(layers), rel=1e-3)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state.params)} == {"bfloat16"}
    assert state.variables["params"] is state.average
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state.average)} == {"float32"}
    before = {path: np.array(leaf) for path, leaf in flat(state.params).items()}
    broken = {**batch, "weights": np.full_like(batch["weights"], np.nan)}
    state, _ = step(state, all_of_it.put(broken), rate)
    assert (int(state.step), int(state.skipped), int(state.bad_step)) == (2, 1, 2)
    assert all(np.array_equal(leaf, before[path]) for path, leaf in flat(state.params).items())
    assert cost.peak_bytes > sum(leaf.nbytes for leaf in jax.tree.leaves(state.params))


def test_the_layers_have_the_same_names_whether_scanned_over_or_not(all_of_it):
    def norms(experiment):
        given = (experiment.abstract_state, experiment.abstract_batch, experiment.abstract_rate)
        shapes = jax.eval_shape(experiment.train_step, *given)[1]
        return {name for name in shapes if "_norm/" in name}

    plain = Experiment(**tiny.sections(model={"num_layers": 2}, log={"layer_norms": True}))
    layers = ("token", "position", "block_0", "block_1", "norm")
    assert (
        norms(plain) == norms(all_of_it) == {f"{of}_norm/{layer}" for of in ("gradient", "update") for layer in layers}
    )


def test_arrays_lie_by_the_rules_of_the_config_before_those_of_the_model(all_of_it):
    specs = {path: leaf.sharding.spec for path, leaf in flat(all_of_it.abstract_state.params).items()}
    assert specs["blocks/feed_forward/hidden/kernel"] == P(None, None, "tensor")
    assert specs["blocks/feed_forward/out/kernel"] == P(None, "tensor", "fsdp")
    assert all(place == leaf.sharding for place, leaf in zip(
        jax.tree.leaves(all_of_it.shardings), jax.tree.leaves(all_of_it.abstract_state), strict=True
    ))  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**31 - 1])
def test_a_seed_draws_what_jax_draws_from_the_same_number(experiment, seed):
    _, for_training = jax.random.split(jax.random.key(seed))
    np.testing.assert_array_equal(experiment.create_state(seed).key, jax.random.key_data(for_training))
