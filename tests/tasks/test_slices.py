"""Slices of a score: what each slicing divides by, that the slices add up, and that a new one is one function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import data, tasks
from attention_jax.base.errors import Refused
from attention_jax.tasks.slicing import Slicing, build_slicings, octave, octave_label, octaves, slicings
from tests.tasks.test_task import BATCH, Echo

RNG = np.random.default_rng(1)


def slicing(name: str) -> Slicing:
    return build_slicings((name,))[0]


def mqar(pairs: int) -> dict[str, np.ndarray]:
    """Returns twenty examples."""
    dataset = data.build("mqar", vocabulary_size=40, length=32, pairs=pairs, power=1.0, validation_examples=20)
    return dataset.splits["validation"].gather(np.arange(20))


def test_octaves_have_a_place_and_a_name_for_every_number():
    count = octaves(32)
    places = np.asarray(octave(jnp.arange(33), count=count))
    assert [octave_label(place) for place in range(count)] == ["0", "1", "2-3", "4-7", "8-15", "16-31", "32-63"]
    for number, place in enumerate(places):
        low, _, high = octave_label(place).partition("-")
        assert int(low) <= number <= int(high or low)
    assert places[32] == count - 1


@pytest.mark.parametrize("pairs", [1, 8])
def test_pairs_are_counted(pairs):
    assert np.asarray(slicing("pairs").of(mqar(pairs))).tolist() == [pairs] * 20


def test_distance_is_from_the_first_presentation_of_a_key_to_its_query():
    batch = mqar(8)
    places = np.asarray(slicing("distance").of(batch))
    for row, position in zip(*np.nonzero(batch["weights"]), strict=True):
        first = list(batch["inputs"][row]).index(batch["inputs"][row, position])
        # The keys come first, at the even places.
        assert first % 2 == 0
        assert first < 16
        low, _, high = slicing("distance").label(places[row, position]).partition("-")
        assert int(low) <= position - first <= int(high or low)


def test_slices_add_up_to_the_measure_and_rows_that_fill_up_are_in_none():
    task = tasks.build("classification", slices=("label",))
    batch = {
        "tokens": jnp.asarray(RNG.normal(size=(6, 3)), jnp.float32),
        "label": jnp.array([0, 2, 2, 0, 2, 1]),
        "valid": jnp.array([True, True, True, True, True, False]),
    }
    variables = {"params": {"scale": jnp.float32(1)}}
    found = jax.jit(lambda batch: task.run_slices(Echo(), variables, batch))(batch)["label"]
    correct = np.argmax(batch["tokens"], -1) == np.asarray(batch["label"])
    for label in range(3):
        counted = (np.asarray(batch["label"]) == label) & np.asarray(batch["valid"])
        assert float(found.weight[label]) == counted.sum()
        assert float(found.total[label]) == (correct & counted).sum()
    whole = task.run(Echo(), variables, batch)["accuracy"]
    assert float(found.total.sum()) == float(whole.total)
    assert float(found.weight.sum()) == float(whole.weight) == 5


def test_positions_have_the_loss_of_their_octave():
    task = tasks.build("token_prediction", slices=("position", "pairs"))
    logits = jnp.asarray(RNG.normal(size=(2, 8, 5)), jnp.float32)
    batch = {"targets": jnp.asarray(RNG.integers(5, size=(2, 8))), "weights": jnp.ones((2, 8)).at[1, 5:].set(0)}
    values = np.asarray(task.items(logits, batch)["loss"].values)

    class Given(Echo):
        def __call__(self, tokens, *, deterministic=True):
            return logits

    found = task.run_slices(Given(), {}, {**batch, "tokens": jnp.zeros((2, 8))})
    position = found["position"]
    assert position.weight.tolist() == [2, 2, 4, 5, 0]
    assert float(position.total[3]) == pytest.approx(values[0, 4:8].sum() + values[1, 4], rel=1e-6)
    assert float(found["pairs"].total[5]) == pytest.approx(values[1, :5].sum(), rel=1e-6)


def test_a_new_slicing_is_one_function(monkeypatch):
    monkeypatch.setattr(slicings, "_builders", dict(slicings._builders))

    @slicings.register
    def parity() -> Slicing:
        """Classes that are odd and those that are not."""
        return Slicing(reads=("label",), count=lambda *_: 2, of=lambda batch: batch["label"] % 2, label=str)

    task = tasks.build("classification", slices=("parity",))
    found = task.run_slices(Echo(), {"params": {"scale": jnp.float32(1)}}, BATCH)
    assert found["parity"].weight.tolist() == [2, 0]


def test_slices_that_cannot_be_are_refused():
    with pytest.raises(Refused, match=r"there is no slicing 'distence'\. Did you mean 'distance'"):
        tasks.build("token_prediction", slices=("distence",))
    with pytest.raises(Refused, match="names 'pairs' twice"):
        tasks.build("token_prediction", slices=("pairs", "pairs"))
    with pytest.raises(Refused, match="slicing distance reads inputs: inputs is not in this data set"):
        tasks.build("classification", slices=("distance",)).check(Echo(), BATCH)
