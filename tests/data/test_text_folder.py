"""Labelled texts of a folder or a zip: classes, splits by name or by seed, and what is refused."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from attention_jax import data
from attention_jax.data.prepare import check_prepared
from tests.missing import missing

TEXTS = {
    f"{label}/cv{number:03}.txt": f"{label} film number {number}" for label in ("pos", "neg") for number in range(20)
}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes of twenty texts, and files that are none."""
    for name, text in {**TEXTS, "README": "of the set", "pos/.hidden": "of a system"}.items():
        path = tmp_path / "reviews" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "reviews"


def build(path: Path, **options) -> data.Dataset:
    return data.build("text_folder", **{"path": str(path), "context": 8, **options})


def sizes(dataset: data.Dataset) -> dict[str, int]:
    return {split: len(source) for split, source in dataset.splits.items()}


def spelt(dataset: data.Dataset, split: str) -> set[tuple[str, str]]:
    source, facts = dataset.splits[split], dataset.facts
    batch = source.gather(np.arange(len(source)))
    return {
        (" ".join(facts["vocabulary"][token] for token in tokens[:length]), facts["classes"][label])
        for tokens, length, label in zip(batch["tokens"], batch["lengths"], batch["label"], strict=True)
    }


def test_sub_folders_are_classes_and_files_are_texts(folder):
    dataset = build(folder, validation_fraction=0.2)
    assert dataset.facts["classes"] == ["neg", "pos"]
    assert sizes(dataset) == {"train": 28, "validation": 8, "test": 4}
    assert spelt(dataset, "train") <= {(text, name[:3]) for name, text in TEXTS.items()}


def test_the_test_split_is_of_the_files_that_a_pattern_names(folder):
    dataset = build(folder, test_files="cv01[5-9]*", min_count=1)
    assert {split: len(source) for split, source in dataset.splits.items()} == {
        "train": 26,
        "validation": 4,
        "test": 10,
    }
    assert {label for _, label in spelt(dataset, "test")} == {"neg", "pos"}
    written = {text for split in ("train", "validation") for text in dataset.splits[split].written}
    assert not written & {f"{label} film number {number}" for label in ("pos", "neg") for number in range(15, 20)}


def test_a_zip_of_one_folder_is_that_folder_and_is_found_where_the_environment_says(folder, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, Path("reviews") / path.relative_to(folder))
    monkeypatch.setenv("TEXTS_DATA_DIR", str(tmp_path))
    zipped, plain = build(Path("all.zip")), build(folder)
    assert zipped.facts == plain.facts
    assert all(spelt(zipped, split) == spelt(plain, split) for split in plain.splits)
    check_prepared({"name": "text_folder", "path": "all.zip"})


def test_what_is_no_folder_of_texts_is_refused(folder, tmp_path, refused):
    with refused("is neither a folder nor a zip", "TEXTS_DATA_DIR"):
        build(tmp_path / "nothing")
    with refused("there is no file 'nothing'", "TEXTS_DATA_DIR", "data.path"):
        check_prepared({"name": "text_folder", "path": "nothing"})
    with refused("neither a folder nor a zip"):
        build(folder / "README")
    with refused("has 0 sub-folders", "each is a class"):
        build(folder / "pos")
    with refused("test_files='cv9*' has 0 of the 40 files", "cv000.txt"):
        build(folder, test_files="cv9*")
    with refused("text_folder has no too_long 'cutt'", "'cut'"):
        build(folder, too_long="cutt")
    with refused("context=4"):
        build(folder, context=2, tokens="words")
    (folder / "empty").mkdir()
    with refused("sub-folder 'empty'", "has no file"):
        build(folder)


def test_the_film_reviews_are_two_thousand_in_their_ten_folds():
    texts = os.environ.get("ATTENTION_JAX_DATA")
    if texts is None:
        missing("set ATTENTION_JAX_DATA to a folder with movie_reviews/movie_reviews.zip")
    path = Path(texts) / "movie_reviews" / "movie_reviews.zip"
    dataset = build(path, test_files="cv9*", context=256, min_count=5, too_long="cut_middle")
    assert sizes(dataset) == {"train": 1620, "validation": 180, "test": 200}
    assert dataset.facts["classes"] == ["neg", "pos"]
