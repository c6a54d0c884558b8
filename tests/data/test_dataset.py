"""The interface that the rooms above are written against."""

import numpy as np
import pytest

from attention_jax import data


def test_every_data_set_is_found_without_a_list():
    assert {"mqar", "digits", "text_file", "tfds_characters", "tfds_images"} <= set(data.names())


def test_a_wrong_name_or_option_is_refused_with_the_nearest(refused):
    with refused("data set 'mqarr'", "'mqar'"):
        data.build("mqarr")
    with refused("'lenght'", "'length'"):
        data.build("mqar", lenght=64)
    with refused("'context'"):
        data.build("text_file", path="a.txt")


def test_array_source_gathers_rows_in_the_order_asked_and_copies_them():
    numbers = np.arange(10)
    source = data.ArraySource({"number": numbers, "pair": np.stack([numbers, -numbers], axis=1)})
    batch = source.gather(np.array([7, 0, 7]))
    assert len(source) == 10
    np.testing.assert_array_equal(batch["number"], [7, 0, 7])
    np.testing.assert_array_equal(batch["pair"], [[7, -7], [0, 0], [7, -7]])
    batch["number"][:] = -1
    np.testing.assert_array_equal(source.gather(np.array([7]))["number"], [7])


@pytest.mark.parametrize("arrays", [{}, {"a": np.zeros(3), "b": np.zeros(4)}])
def test_array_source_needs_arrays_of_one_length(arrays):
    with pytest.raises(ValueError, match="equally long"):
        data.ArraySource(arrays)


def test_the_same_options_in_another_folder_are_other_data(tmp_path, monkeypatch):
    options = {"folder": "texts", "length": 8, "vocabulary_size": 259}
    for name, line in (("first", "one"), ("second", "two")):
        (tmp_path / name / "texts").mkdir(parents=True)
        for file in ("train.en", "train.de", "val.en", "val.de"):
            (tmp_path / name / "texts" / file).write_text(line)
        monkeypatch.setenv("TEXTS_DATA_DIR", str(tmp_path / name))
        built = data.build("parallel_texts", **options)
        assert [*built.splits["train"].texts.source] == [line]
        assert data.build("parallel_texts", **options) is built
