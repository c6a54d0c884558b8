"""An experiment is checked when it is built, before any step."""

import pytest

from attention_jax.kernels import Refused
from attention_jax.training import Experiment
from tests.training import tiny

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
        ({"mesh": {"data": 4096}}, r"^mesh\.data=4096: there are"),
        ({"optimizer": {"schedule": {"warmup_steps": 24}}}, r"warmup_steps=24 is not in 0 to 23"),
        ({"model": {"num_heads": 3}}, r"^3 heads do not divide the width 8"),
        ({"model": {"attention": "performr"}}, r"no attention variant 'performr'\. Did you mean 'performer'\?"),
        ({"model": {"attention_dropout_rate": 0.1}}, r"does not take dropout of weights"),
        ({"model": {"name": "vit"}}, r"^model 'vit' needs image_shape, num_classes; this data set has length"),
        ({"task": {"name": "classification"}}, r"^the task: label is not in this data set"),
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
