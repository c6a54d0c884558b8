"""What the product says when a word is wrong."""

from attention_jax.base.errors import did_you_mean
from attention_jax.kernels import Refused


def test_the_nearest_word_is_offered():
    assert did_you_mean("performr", ["performer", "linear"]) == " Did you mean 'performer'?"


def test_without_a_near_word_all_are_listed_in_order():
    assert did_you_mean("zzz", ["linear", "cosine"]) == " There is: cosine, linear."
    assert did_you_mean("zzz", []) == ""


def test_a_refusal_is_a_value_error():
    assert issubclass(Refused, ValueError)
