"""Preparing a set from files at hand: checked, kept apart, readable; and every way in which it can fail."""

import gzip
import hashlib
import importlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from attention_jax import data
from attention_jax.data.tfds_source import open_prepared, read

PREPARE = importlib.import_module("attention_jax.data.prepare")  # the package's name `prepare` is the function
FILE = "numbers.txt.gz"
NUMBERS = {"even_numbers": [0, 2, 4], "odd_numbers": [1, 3, 5, 7]}


def test_without_tensorflow_it_is_refused_with_the_command(refused, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with refused("'fashion_mnist'", "TensorFlow", "pip install -r requirements-prepare.txt"):
        data.prepare("fashion_mnist", data_dir=str(tmp_path))


def file_of(name: str) -> bytes:
    """Returns the original file of a set; both sets call theirs by the same name, as MNIST and Fashion-MNIST do."""
    return gzip.compress("\n".join(map(str, NUMBERS[name])).encode(), mtime=0)


@pytest.fixture(scope="module")
def sets():
    """Two small TFDS sets, registered as any built-in set is, whose server does not answer."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("preparing needs TensorFlow: pip install -r requirements-prepare.txt")
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.checksums import UrlInfo

    class Numbers(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        @property
        def url(self):
            return f"http://127.0.0.1:9/{self.name}/{FILE}"

        @property
        def url_infos(self):
            content = file_of(self.name)
            return {self.url: UrlInfo(len(content), hashlib.sha256(content).hexdigest(), FILE)}

        def _info(self):
            features = tfds.features.FeaturesDict({"number": tfds.features.Scalar(np.int64)})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(dl_manager.download_and_extract(self.url))}

        def _generate_examples(self, path):
            for line in Path(path).read_text().splitlines():
                yield line, {"number": int(line)}

    class EvenNumbers(Numbers):
        pass

    class OddNumbers(Numbers):
        pass

    return EvenNumbers, OddNumbers


@pytest.fixture
def at_hand(tmp_path):
    """`at_hand(name, content)` is a folder that holds the set's original file."""

    def write(name: str, content: bytes) -> str:
        folder = tmp_path / "originals" / name
        folder.mkdir(parents=True)
        (folder / FILE).write_bytes(content)
        return str(folder)

    return write


@pytest.mark.usefixtures("sets")
def test_sets_with_files_of_one_name_are_prepared_apart_and_can_be_read(at_hand, tmp_path, monkeypatch):
    # TFDS alone would unpack the second set's file over the first's, and read the first's numbers twice.
    prepared = tmp_path / "prepared"
    for name, numbers in NUMBERS.items():
        folder = data.prepare(name, data_dir=str(prepared), manual_dir=at_hand(name, file_of(name)))
        assert folder == prepared / name / "1.0.0"
        assert list(folder.glob("*.array_record*"))
        monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
        assert sorted(int(example["number"]) for example in read(open_prepared(name), "train")) == numbers
        assert data.prepare(name, data_dir=str(prepared)) == folder, "nothing to do, and no file needed"
    assert (prepared / "downloads").is_dir()


@pytest.mark.usefixtures("sets")
def test_a_changed_file_is_refused_by_its_checksum(refused, at_hand, tmp_path):
    content = bytearray(file_of("even_numbers"))
    content[-1] ^= 1
    folder = at_hand("even_numbers", bytes(content))
    with refused("'even_numbers'", "checksum", f"{folder}/{FILE}"):
        data.prepare("even_numbers", data_dir=str(tmp_path / "prepared"), manual_dir=folder)
    assert not list(tmp_path.glob("prepared/**/*.array_record*"))


@pytest.mark.usefixtures("sets")
def test_a_folder_without_the_files_is_refused_with_their_names(refused, tmp_path):
    with refused(f"'{tmp_path}'", "'even_numbers'", FILE):
        data.prepare("even_numbers", data_dir=str(tmp_path), manual_dir=str(tmp_path))


@pytest.mark.usefixtures("sets")
def test_a_failed_download_is_refused_with_another_way(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(PREPARE, "_RETRIES", 0)
    with refused("'even_numbers'", "127.0.0.1", "manual_dir", FILE):
        data.prepare("even_numbers", data_dir=str(tmp_path))


@pytest.mark.usefixtures("sets")
def test_a_folder_that_cannot_be_written_is_refused(refused, at_hand, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with refused("'odd_numbers'", str(tmp_path / "file")):
        data.prepare(
            "odd_numbers", data_dir=str(tmp_path / "file"), manual_dir=at_hand("odd_numbers", file_of("odd_numbers"))
        )
