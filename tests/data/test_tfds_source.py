"""TFDS sets are found where they lie, read without TensorFlow, and refused in one line that says what to do."""

import os
import shutil
import subprocess
import sys

import pytest

from attention_jax import data
from attention_jax.data.tfds_source import count, find_builder, open_prepared, read


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """No set is prepared here."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tmp_path


def test_a_set_that_is_not_prepared_is_refused_with_the_folder_and_the_commands(refused, empty_folder, capfd):
    commands = ("python launch.py prepare fashion_mnist", "pip install -r requirements-prepare.txt")
    with refused("'fashion_mnist'", str(empty_folder), "TFDS_DATA_DIR", *commands):
        data.build("tfds_images", dataset="fashion_mnist")
    with refused("'scan/length'", "python launch.py prepare scan/length"):
        data.build("tfds_characters", dataset="scan/length", context=8)
    assert capfd.readouterr() == ("", "")
    assert not list(empty_folder.iterdir()), "nothing was downloaded"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fashon_mnist", ["'fashon_mnist'", "'fashion_mnist'"]),
        ("scan/lenght", ["'scan'", "'lenght'", "'length'"]),
        ("fashion_mnist:9.9.9", ["fashion_mnist:9.9.9", "3.0.1"]),
        ("qqqqqqqqqq", ["'qqqqqqqqqq'", "tensorflow.org/datasets/catalog"]),
        ("my data", ["'my data'"]),
    ],
)
def test_a_name_that_tfds_has_not_is_refused_with_the_nearest(refused, name, words):
    with refused("TFDS", *words):
        find_builder(name)


def test_tfds_does_not_list_its_catalogue(empty_folder):
    with pytest.raises(ValueError) as caught:
        find_builder("mnistt")
    assert len(str(caught.value)) < 200


def test_a_set_in_another_format_is_refused(refused, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    shutil.copytree(prepared / "tiny_shakespeare", tmp_path / "tiny_shakespeare")
    info = tmp_path / "tiny_shakespeare" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    with refused("'tiny_shakespeare'", "tfrecord", str(tmp_path), "array_record"):
        open_prepared("tiny_shakespeare")


@pytest.mark.usefixtures("prepared")
def test_a_split_that_is_not_there_is_refused(refused):
    with refused("'scan'", "'validation'", "train, test"):
        next(read(open_prepared("scan"), "validation"))


def test_a_split_is_read_whole_and_in_order(prepared):
    import tensorflow_datasets as tfds

    builder = open_prepared("scan/length")
    examples = list(read(builder, "test"))
    assert len(examples) == count(builder, "test") == 3920
    stored = tfds.data_source("scan/length", split="test", data_dir=prepared, download=False)
    assert [examples[i] for i in (0, 1023, 1024, 3919)] == [stored[i] for i in (0, 1023, 1024, 3919)]


def test_reading_imports_no_tensorflow_and_says_nothing(prepared):
    program = (
        "import sys; from attention_jax import data;"
        "data.build('tfds_characters', dataset='tiny_shakespeare', context=8);"
        "from attention_jax.data.tfds_source import open_prepared, read;"
        "next(read(open_prepared('fashion_mnist'), 'test'));"
        "assert 'tensorflow_datasets' in sys.modules;"
        "sys.exit('tensorflow' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], env=dict(os.environ), capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
