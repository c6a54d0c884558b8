"""What a stranger's file or folder is taken for, and what is refused with the way out."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attention_jax import data
from attention_jax.data.guess import guess

ROWS = [(f"the film {number} was {word}, really", label) for number in range(20) for word, label in
        (("good", "pos"), ("bad", "neg"))]  # fmt: skip


@pytest.fixture
def made(tmp_path, monkeypatch):
    """`made(name, content)` writes a file into the folder that is the current one, and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, content: str | bytes) -> str:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return write


def separated(rows, separator=",", header=("text", "label")) -> str:
    lines = [*([header] if header else []), *rows]
    return "".join(
        separator.join(f'"{field}"' if separator in field else field for field in row) + "\n" for row in lines
    )


def images(folder: Path, *, classes=("cat", "dog"), count=10, sizes=((8, 8),), mode="RGB") -> str:
    """Writes images of random pixels, and returns the folder."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            height, width = sizes[index % len(sizes)]
            pixels = rng.integers(0, 256, (height, width, 3), np.uint8) // 2 + 100 * number
            Image.fromarray(pixels).convert(mode).save(folder / name / f"{index}.png")
    return str(folder)


FORMS = {
    "own.csv": (separated(ROWS), ("text", "label"), "commas, with a header"),
    "semicolons.csv": (separated(ROWS, ";"), ("text", "label"), "semicolons, with a header"),
    "tabs.csv": (separated(ROWS, "\t"), ("text", "label"), "tabs, with a header"),
    "own.tsv": (separated(ROWS, "\t"), ("text", "label"), "tabs, with a header"),
    "bare.csv": (separated(ROWS, header=None), ("1", "2"), "commas, without a header, so columns are called '1', '2'"),
    "mark.tsv": (
        separated(
            [(f'"open {number}', "a") if number % 2 else (f'shut" {number}', "b") for number in range(40)], "\t", None
        ),
        ("1", "2"),
        "quotation marks",
    ),
    "own.jsonl": (
        "".join(
            json.dumps({"id": number, "review": text, "sentiment": label}) + "\n"
            for number, (text, label) in enumerate(ROWS)
        ),
        ("review", "sentiment"),
        "JSON lines",
    ),
    "named.csv": (
        separated(
            [(str(number), text, label) for number, (text, label) in enumerate(ROWS)],
            ",",
            ("id", "tweet_text", "user_class"),
        ),
        ("tweet_text", "user_class"),
        "with a header",
    ),
    "unnamed.csv": (
        separated([(f"x{number}", text, label) for number, (text, label) in enumerate(ROWS)], ",", ("u", "v", "w")),
        ("v", "w"),
        "with a header",
    ),
    "lines.csv": (
        "text,label\n" + "".join(f'"a ""quoted""\nline, {text}",{label}\n' for text, label in ROWS),
        ("text", "label"),
        "40 labelled texts",
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_table_is_read_whatever_its_form(made, name):
    content, columns, words = FORMS[name]
    found = guess(made(name, content))
    assert found.kind == "texts"
    assert (found.section["text"], found.section["label"]) == columns
    assert words in "\n".join(found.lines)
    built = data.build(**found.section)
    assert sum(map(len, built.splits.values())) == 40
    assert built.facts["num_classes"] == 2


def test_classes_and_those_of_few_texts_are_named(made):
    rows = [*ROWS, ("odd one", "odd"), ("odd other", "odd")]
    said = "\n".join(guess(made("own.csv", separated(rows))).lines)
    assert "3 classes: neg 20, pos 20, odd 2" in said
    assert "classes of fewer than 5 texts (1), such as 'odd', are not in each split" in said


def test_columns_that_are_said_are_taken(made):
    rows = [(text, text[::-1], label, label.upper()) for text, label in ROWS]
    path = made("own.csv", separated(rows, header=("text", "back", "label", "loud")))
    found = guess(path, text="back", label="loud")
    assert (found.section["text"], found.section["label"]) == ("back", "loud")
    assert (guess(path).section["text"], guess(path).section["label"]) == ("text", "label")


def test_copies_are_named_and_stay_in_one_split(made):
    rows = [*ROWS, *((f" {text}  ", label) for text, label in ROWS[:10]), (ROWS[11][0], "pos")]
    found = guess(made("own.csv", separated(rows)))
    said = "\n".join(found.lines)
    assert "11 of the texts are there more than once (22 rows, 1 of them with different labels)" in said
    splits = data.build(**found.section).splits
    texts = {split: {" ".join(text.split()) for text in source.written} for split, source in splits.items()}
    assert not texts["train"] & texts["test"]
    assert not texts["train"] & texts["validation"]


def test_texts_without_blanks_are_read_by_character(made):
    rows = [("这部电影非常精彩演员表演出色" + chr(0x4E00 + number), "a" if number % 2 else "b") for number in range(40)]
    assert guess(made("own.csv", separated(rows))).section["tokens"] == "characters"
    assert guess(made("two.csv", separated(ROWS))).section["tokens"] == "lower_words"


def test_a_long_text_is_cut_and_that_is_said(made):
    rows = [(f"{text} {'on and on ' * 200}", label) for text, label in ROWS]
    found = guess(made("own.csv", separated(rows)))
    assert "100.0% of the texts are longer" in "\n".join(found.lines)
    assert max(data.build(**found.section).splits["train"].gather(np.arange(4))["lengths"]) == found.length[0]


def test_a_text_file_is_a_language_model_and_rare_characters_are_one(made):
    found = guess(made("own.txt", "to be or not to be\n" * 200 + "ξψ"))
    assert (found.kind, found.section["name"]) == ("language", "text_file")
    assert data.build(**found.section).facts["vocabulary"][0] == "<unknown>"
    table = guess(made("table.txt", separated(ROWS)), text="text", label="label")
    assert table.kind == "texts"


@pytest.mark.parametrize(
    ("sizes", "mode", "size", "words"),
    [
        (((8, 8),), "RGB", (8, 8), "colour images, 8x8 (height x width), as they are"),
        (((8, 12),), "L", (8, 12), "grey images"),
        (((8, 8), (9, 7)), "RGB", (32, 32), "and other sizes (1) (height x width), resized to 32x32"),
        (((100, 80),), "RGB", (32, 32), "resized"),
        (((13, 7),), "P", (32, 32), "resized"),
    ],
)
def test_a_folder_with_a_sub_folder_for_each_class_is_images_of_one_size(tmp_path, sizes, mode, size, words):
    path = images(tmp_path / "pets", sizes=sizes, mode=mode)
    (tmp_path / "pets" / "notes.txt").write_text("of mine")
    found = guess(path)
    said = "\n".join(found.lines)
    assert found.section["size"] == size
    for word in (words, "cat 10, dog 10", "files beside the sub-folders (1) are not read, such as notes.txt"):
        assert word in said
    batch = data.build(**found.section).splits["train"].gather(np.arange(3))
    assert batch["image"].shape == (3, *size, 1 if mode == "L" else 3)


def test_images_of_the_same_bytes_are_named(tmp_path):
    path = images(tmp_path / "pets")
    (tmp_path / "pets/cat/again.png").write_bytes((tmp_path / "pets/dog/0.png").read_bytes())
    assert "1 of the images are there more than once (2 files, 1 of them in different classes)" in "\n".join(
        guess(path).lines
    )


def test_what_changed_since_the_guess_is_refused(refused, made, tmp_path):
    table = guess(made("own.csv", separated(ROWS)))
    text = guess(made("own.txt", "to be or not to be\n" * 200))
    folder = guess(images(tmp_path / "pets"))
    made("own.csv", separated(ROWS[::-1]))
    made("own.txt", "to be and not to be\n" * 200)
    (tmp_path / "pets/cat/0.png").rename(tmp_path / "pets/cat/00.png")
    for found in (table, text, folder):
        with refused("changed: its digest is", found.section["digest"], "--workdir"):
            data.build(**found.section)


REGRESSION = [(text, str(number / 7)) for number, (text, _) in enumerate(ROWS)]
BAD_TABLES = [
    ("own.csv", separated([(text, "pos") for text, _ in ROWS]), {}, ["one class, 'pos', in all 40 rows"]),
    ("own.csv", separated([*ROWS, (" ", "pos")]), {}, ["1 of 41 rows", "no text in column 'text'", "line 42"]),
    ("own.csv", separated([*ROWS, ("text", "")]), {}, ["1 of 41 rows", "no label", "line 42"]),
    ("own.csv", separated([*ROWS, ("new", "odd")]), {}, ["class 'odd'", "one row, line 42"]),
    ("own.csv", separated(ROWS).encode("utf-16"), {}, ["own.csv", "not UTF-8"]),
    ("own.csv", separated([*ROWS, ("caf\xe9", "pos")]).encode("latin-1"), {}, ["not UTF-8", "0xe9"]),
    ("own.csv", "", {}, ["one column"]),
    ("own.csv", "text,label\n", {}, ["has no rows"]),
    ("own.csv", "text\na\nb\n", {}, ["one column"]),
    ("own.csv", separated(REGRESSION), {}, ["40 different numbers in 40 rows", "regression"]),
    ("own.csv", "text,label\na,b,c\nd,e\n", {}, ["line 2", "3 fields"]),
    ("own.csv", separated(ROWS), {"text": "txt"}, ["--text=txt", "Did you mean 'text'?"]),
    ("own.csv", separated(ROWS), {"text": "label", "label": "label"}, ["one column", "give two"]),
    (
        "own.csv",
        separated([(text, text[::-1], label) for text, label in ROWS], header=("sentence_A", "sentence_B", "judgment")),
        {},
        ["the text of 'own.csv' may be column 'sentence_A' or 'sentence_B'", "--text=COLUMN", "--text=sentence_A"],
    ),
    (
        "own.csv",
        separated([(text, label, label[0]) for text, label in ROWS], header=("text", "a", "b")),
        {},
        ["the label of 'own.csv' may be column 'a' or 'b'", "--label=a"],
    ),
    (
        "own.csv",
        separated([(text, f"u{number}") for number, (text, _) in enumerate(ROWS)], header=("text", "user")),
        {},
        ["no column of 'own.csv' looks like the label", "--label=COLUMN"],
    ),
    ("own.json", "[]", {}, ["JSON array", "jq"]),
    ("own.jsonl", "{\n", {}, ["line 1", "no JSON"]),
    ("own.txt", "short", {}, ["5 characters", "1280"]),
    ("own.txt", b"\xff\xfe", {}, ["not UTF-8"]),
    ("own.txt", "text", {"label": "label"}, ["one column"]),
]


@pytest.mark.parametrize(("name", "content", "columns", "words"), BAD_TABLES)
def test_a_file_that_cannot_be_used_is_refused(refused, made, name, content, columns, words):
    with refused(*words):
        guess(made(name, content), **columns)


def _nothing(folder: Path) -> None:
    folder.mkdir()


def _one_class(folder: Path) -> None:
    images(folder, classes=("cat",))


def _empty_class(folder: Path) -> None:
    images(folder)
    (folder / "eel").mkdir()


def _single(folder: Path) -> None:
    images(folder)
    images(folder, classes=("eel",), count=1)


def _no_image(folder: Path) -> None:
    images(folder)
    (folder / "cat" / "notes.txt").write_text("none")


def _deep(folder: Path) -> None:
    images(folder)
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / "cat" / "deep.png")


def _splits(folder: Path) -> None:
    images(folder, classes=("train", "test"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_nothing, ["no sub-folder", "two classes"]),
        (_one_class, ["one sub-folder 'cat'"]),
        (_empty_class, ["class 'eel'", "no image"]),
        (_single, ["class 'eel'", "one image"]),
        (_no_image, ["notes.txt", "no image that Pillow reads"]),
        (_deep, ["deep.png", "mode I;16", "8 bits"]),
        (_splits, ["are splits (test, train)", "pets/train"]),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(refused, tmp_path, make, words):
    make(tmp_path / "pets")
    with refused("pets", *words):
        guess(str(tmp_path / "pets"))


def test_a_broken_image_is_refused_when_it_is_read(refused, tmp_path):
    path = images(tmp_path / "pets", sizes=((64, 64),))
    broken = tmp_path / "pets/dog/3.png"
    broken.write_bytes(broken.read_bytes()[:3000])
    with refused("3.png", "is broken"):
        guess(path)
    with refused("3.png", "is broken"):
        data.build("image_folder", path=path, size=(8, 8))


def test_a_path_that_is_not_there_and_columns_of_no_table_are_refused(refused, made, tmp_path):
    made("own.csv", separated(ROWS))
    with refused("no file or folder 'onw.csv'", "Did you mean 'own.csv'?"):
        guess("onw.csv")
    with refused("--label=x", "leave it out"):
        guess(images(tmp_path / "pets"), label="x")


def test_a_tfds_set_that_is_not_prepared_is_refused_with_the_command(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with refused("'mnist' is not prepared", "python launch.py prepare mnist"):
        guess("tfds:mnist")


def test_prepared_tfds_sets_are_read_by_their_features(refused, prepared):
    assert guess("tfds:fashion_mnist").section["name"] == "tfds_images"
    assert guess("tfds:tiny_shakespeare").section["name"] == "tfds_characters"
    assert guess("tfds:aeslc", text="email_body").section["name"] == "tfds_documents"
    with refused("field 'email_body' or 'subject_line'", "--text=email_body"):
        guess("tfds:aeslc")
    with refused("--text=body", "Did you mean 'email_body'?"):
        guess("tfds:aeslc", text="body")
