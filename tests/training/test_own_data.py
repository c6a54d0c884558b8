"""The experiment that is made of a guess: one that is whole, small, and fits the data."""

import numpy as np
import pytest

from attention_jax.data.guess import guess
from attention_jax.training import Experiment, config, own_data


def experiment(path: str) -> tuple[Experiment, str]:
    """Returns the experiment of a path, and the words on it."""
    made = config.finish(own_data.experiment_of(guess(path)), {"mesh.data": "1"}, owner=path)
    return Experiment(**config.plain(made)), own_data.description(made)


@pytest.mark.parametrize("rows", [20, 60, 600])
def test_texts_have_a_classifier_whatever_their_number(tmp_path, rows):
    lines = [f"{'good' if number % 2 else 'bad'} film {number},{number % 2}" for number in range(rows)]
    path = tmp_path / "own.csv"
    path.write_text("text,label\n" + "\n".join(lines) + "\n")
    made, said = experiment(str(path))
    train = len(made.dataset.splits["train"])
    assert made.model.stack.attention == "scaled_dot"
    assert 1 <= made.batch_size <= 32
    assert 4 * made.batch_size <= train
    assert made.steps == min(max(8 * train // made.batch_size, 60), 400)
    assert made.score_name == "test_accuracy"
    assert said == f"model encoder_classifier: num_layers 2, width 64, num_heads 4; {made.steps} steps of " + (
        f"{made.batch_size} examples"
    )


def test_a_text_has_a_language_model_and_a_folder_of_images_a_vision_transformer(tmp_path):
    from PIL import Image

    path = tmp_path / "own.txt"
    path.write_text("to be or not to be\n" * 100)
    made, said = experiment(str(path))
    assert "model gpt" in said
    assert made.score_name == "validation_loss"
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.full((12, 12, 3), 20 * number + 5 * (name == "cat"), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"pets/{name}/{number}.png")
    made, said = experiment(str(tmp_path / "pets"))
    assert "model vit" in said
    assert made.model.patch == 2
    assert made.score_name == "test_accuracy"
