"""Rows are found in the files that declare them; what cannot be a row is refused."""

import re
from pathlib import Path

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.reproduction.rows import find_rows
from tests.launch.command_line import RECALL
from tests.study.reproduce_cases import make_row

COMPARISON = {"benchmarks": {"recall": RECALL}, "variants": ("scaled_dot", "uniform"), "seeds": (0, 1)}
PATCHED = {"benchmarks": {"recall": RECALL}, "patches": {"base": "", "deep": "model.num_layers=3"}}
SWEEP = {**RECALL, "space": "model.width=[16,32]", "sweep": {"best": 1, "fresh_seeds": 2}}
DECLARES = "RESULTS = (Reproduction(system='s', data='d', core_minutes=1{}),)"


def written(path: Path, sections: dict, results: str = DECLARES.format("")) -> Path:
    """Writes a config file that declares a result."""
    path.write_text(
        "from ml_collections import ConfigDict\n"
        "from attention_jax.study.reproduction.declaration import Expected, Reproduction\n"
        f"{results}\n"
        "def get_config(size='small'):\n"
        f"    return ConfigDict({sections!r} | ({{'seed': 1}} if size == 'big' else {{}}))\n"
    )
    return path


def test_every_kind_of_file_is_a_row_and_one_that_declares_nothing_is_none(tmp_path):
    (tmp_path / "sub").mkdir()
    written(tmp_path / "a.py", RECALL)
    written(tmp_path / "b.py", COMPARISON, DECLARES.format(", expected={'recall / uniform': Expected(0.1, 0.1)}"))
    written(tmp_path / "c.py", RECALL, "")
    written(tmp_path / "sub" / "d.py", SWEEP)
    two = DECLARES.format("").replace(",)", ", Reproduction(system='t', data='d', core_minutes=9, argument='big'))")
    written(tmp_path / "e.py", RECALL, two)
    rows = {row.name: row for row in find_rows(tmp_path)}
    assert list(rows) == ["a", "b", "e", "e_big", "d"]
    assert [entry.label for entry in rows["b"].entries] == ["recall / scaled_dot", "recall / uniform"]
    assert rows["d"].sweep is not None
    assert rows["d"].seeds == (1, 2)
    assert rows["a"].seeds == (0, 1, 2)
    cell = rows["b"].cell(rows["b"].entries[1], 2)
    assert (cell.config["model"]["attention"], cell.config["seed"]) == ("uniform", 2)


def test_patches_are_entries_by_their_names_and_each_change_of_one_is_another(tmp_path):
    folders = {}
    for name, width in (("one", 16), ("two", 32)):
        patches = {"narrow": "", "wide": f"model.width={width} model.hidden=8", "deep": {"model": {"num_layers": 2}}}
        sections = {"benchmarks": {"recall": {**RECALL, "model": {**RECALL["model"], "width": 8}}}, "patches": patches}
        (tmp_path / name).mkdir()
        expects = DECLARES.format(", control='deep', expected={'recall / wide': Expected(0.5, 0.1)}")
        (folders[name],) = find_rows(written(tmp_path / name / "a.py", sections, expects).parent)
    first, other = folders["one"].entries, folders["two"].entries
    assert [entry.label for entry in first] == ["recall / narrow", "recall / deep", "recall / wide"]
    assert [entry.config_of(0)["model"]["width"] for entry in first] == [8, 8, 16]
    assert [entry.config_of(0)["model"]["num_layers"] for entry in first][1] == 2
    same = [one.written == two.written for one, two in zip(first, other, strict=True)]
    assert same == [True, True, False]


@pytest.mark.parametrize(
    ("sections", "results", "said"),
    [
        (RECALL, "RESULTS = 3", "RESULTS is 3: give a tuple of Reproduction(...)"),
        (RECALL, DECLARES.format(", expected={'a': Expected(1, 1)}"), "It has one score: give Expected(...) alone."),
        (COMPARISON, DECLARES.format(", expected={'recall / unifrm': Expected(1, 1)}"), "Did you mean 'recall / unif"),
        (COMPARISON, DECLARES.format(", expected=Expected(1, 1)"), "a score is expected of ''"),
        (COMPARISON, DECLARES.format(", control='linear'"), "control='linear' is none of scaled_dot, uniform"),
        (PATCHED, DECLARES.format(", control='wide'"), "control='wide' is none of base, deep"),
        ({**PATCHED, "patches": {"a": "", "b": "model.widht=8"}}, DECLARES.format(""), "no key 'model.widht'. Did you"),
        (RECALL, DECLARES.format(", control='linear'"), "is of a comparison"),
        (RECALL, DECLARES.format(", also=('test_loss',)"), "also=('test_loss',) are columns of a comparison"),
        ({**SWEEP, "sweep": {"best": 0}}, DECLARES.format(""), "set sweep.best to 1"),
        (RECALL, DECLARES.format(", name='a'"), "declares the row 'a', which there is already"),
    ],
)
def test_what_is_no_row_is_refused_in_a_line(sections, results, said, tmp_path):
    written(tmp_path / "a.py", RECALL)
    written(tmp_path / "b.py", sections, results)
    with pytest.raises(Refused, match=re.escape(said)) as refusal:
        find_rows(tmp_path)
    assert "\n" not in str(refusal.value)


def test_missing_data_are_refused_with_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    vit = next(row for row in find_rows(Path("experiments")) if row.name == "fashion_vit")
    with pytest.raises(
        Refused, match=r"^fashion_vit: .*'fashion_mnist' is not prepared.*launch.py prepare fashion_mni"
    ):
        vit.check_data()


def test_rows_versions_and_configs_are_cells_of_their_own():
    rows = [make_row(), make_row(version=2), make_row("other"), make_row(sections={"steps": 21}), make_row(written="x")]
    cells = [row.cell(row.entries[0], 0) for row in rows] + [rows[0].cell(rows[0].entries[0], 1)]
    assert len({cell.identity for cell in cells}) == len({cell.name for cell in cells}) == len(cells)
    assert cells[0].identity == make_row(core_minutes=9.0).cell(make_row().entries[0], 0).identity
