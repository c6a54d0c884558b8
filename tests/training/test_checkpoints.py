"""Checkpoints come back bit for bit, or are set aside, and nothing that is damaged is deleted."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attention_jax.kernels import Refused
from attention_jax.training.checkpoints import Checkpoints, NotSaved, Restored
from attention_jax.training.state import TrainState


def make_state(step: int) -> TrainState:
    """Returns a state with numbers that differ from step to step in every array."""
    rng = np.random.default_rng(step)
    params = {
        "dense": {"kernel": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)},
        "half": jnp.asarray(rng.normal(size=5), jnp.bfloat16),
    }
    optimizer = optax.adamw(1e-3)
    _, opt_state = optimizer.update(params, optimizer.init(params), params)
    return TrainState(
        step=jnp.int32(step),
        params=params,
        buffers={"projection": jnp.asarray(rng.normal(size=2), jnp.float32)},
        mutable={"batch_stats": {"mean": jnp.asarray(rng.normal(size=3), jnp.float32)}},
        opt_state=opt_state,
        key=jax.random.key_data(jax.random.fold_in(jax.random.key(3), step)),
        bad_step=jnp.int32(-1),
        skipped=jnp.int32(step),
        typical_norm=jnp.float32(rng.normal()),
        average=jax.tree.map(lambda leaf: leaf / 2, params),
    )


LIKE = make_state(0)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def opened(tmp_path, said) -> Callable[..., Checkpoints]:
    return lambda keep=2: Checkpoints(tmp_path, keep=keep, say=said.append)


@pytest.fixture
def folder(tmp_path, opened) -> Path:
    """The folder of the checkpoints of the steps 1, 2 and 3."""
    checkpoints = opened(keep=3)
    for step in (1, 2, 3):
        checkpoints.save(step, make_state(step), {"position": step})
    checkpoints.close()
    return tmp_path / "checkpoints"


def check_is(restored: Restored | None, step: int) -> None:
    assert restored is not None
    assert (restored.step, restored.beside) == (step, {"position": step})
    expected = make_state(step)
    assert jax.tree.structure(restored.state) == jax.tree.structure(expected)
    for there, here in zip(jax.tree.leaves(restored.state), jax.tree.leaves(expected), strict=True):
        assert there.dtype == here.dtype
        np.testing.assert_array_equal(there, here)


def data_file(folder: Path, step: int) -> Path:
    return max(
        (path for path in (folder / str(step)).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )


def test_the_latest_state_comes_back_bit_for_bit(folder, opened, said):
    check_is(opened(keep=3).restore(LIKE), 3)
    assert said == []


def test_an_empty_folder_has_no_checkpoint(opened):
    checkpoints = opened()
    assert checkpoints.steps() == []
    assert checkpoints.restore(LIKE) is None


def test_the_oldest_go_with_their_manifests(tmp_path, opened):
    checkpoints = opened(keep=2)
    for step in (1, 2, 3):
        checkpoints.save(step, make_state(step), {"position": step})
        assert checkpoints.steps() == [1, 2, 3][max(0, step - 2) : step]
    left = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert left == {"2", "3", "2.manifest.json", "3.manifest.json"}


def test_the_manifest_names_every_file_with_its_size(folder):
    manifest = json.loads((folder / "3.manifest.json").read_text())
    files = {str(path.relative_to(folder / "3")): path for path in (folder / "3").rglob("*") if path.is_file()}
    assert {name: size for name, (size, _) in manifest.items()} == {
        name: path.stat().st_size for name, path in files.items()
    }


def test_a_step_is_saved_once(folder, opened):
    checkpoints = opened(keep=3)
    checkpoints.save(3, make_state(7), {"position": 7})
    check_is(checkpoints.restore(LIKE), 3)


def test_a_step_that_was_damaged_meanwhile_is_not_vouched_for_by_saving_it_again(folder, opened, said):
    checkpoints = opened(keep=3)
    truncated(folder)
    checkpoints.save(3, make_state(3), {"position": 3})
    checkpoints.close()
    check_is(opened(keep=3).restore(LIKE), 2)
    assert "checkpoint of step 3 is damaged" in said[0]


def truncated(folder: Path) -> None:
    path = data_file(folder, 3)
    path.write_bytes(path.read_bytes()[:-1])


def flipped(folder: Path) -> None:
    path = data_file(folder, 3)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def missing(folder: Path) -> None:
    data_file(folder, 3).unlink()


def unreadable_manifest(folder: Path) -> None:
    (folder / "3.manifest.json").write_text('{"state/man')


DAMAGES = [truncated, flipped, missing, unreadable_manifest]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(folder, tmp_path, opened, said, damage):
    damage(folder)
    left = sorted(path.read_bytes() for path in (folder / "3").rglob("*") if path.is_file())
    checkpoints = opened(keep=3)
    (line,) = said
    assert line.startswith("checkpoint of step 3 is damaged (")
    assert line.endswith("the latest whole one, of step 2, is used. It is kept in damaged_checkpoints/.")
    check_is(checkpoints.restore(LIKE), 2)
    (aside,) = (tmp_path / "damaged_checkpoints").iterdir()
    assert sorted(path.read_bytes() for path in aside.rglob("*") if path.is_file()) == left
    # The step can be reached and saved again.
    checkpoints.save(3, make_state(3), {"position": 3})
    check_is(checkpoints.restore(LIKE), 3)


def test_a_step_that_is_damaged_twice_is_kept_twice(folder, tmp_path, opened):
    truncated(folder)
    checkpoints = opened(keep=3)
    checkpoints.save(3, make_state(3), {"position": 3})
    checkpoints.close()
    truncated(folder)
    opened(keep=3)
    assert len(list((tmp_path / "damaged_checkpoints").iterdir())) == 2


def test_an_older_damaged_one_does_not_stop_the_latest(folder, opened, said):
    path = data_file(folder, 1)
    path.write_bytes(b"")
    check_is(opened(keep=3).restore(LIKE), 3)
    (line,) = said
    assert line.startswith("checkpoint of step 1 is damaged")
    assert "of step 3, is used" in line


def test_when_all_are_damaged_the_run_starts_over_and_nothing_is_deleted(folder, tmp_path, opened, said):
    for step in (1, 2, 3):
        data_file(folder, step).write_bytes(b"")
    assert opened(keep=3).restore(LIKE) is None
    assert [line.split()[3] for line in said] == ["3", "2", "1"]
    assert all("there is no whole one: from step 0" in line for line in said)
    assert len(list((tmp_path / "damaged_checkpoints").iterdir())) == 3


def test_opened_to_read_it_passes_over_what_is_damaged_and_leaves_it_where_it_is(folder, tmp_path, said):
    truncated(folder)
    before = sorted(tmp_path.rglob("*"))
    checkpoints = Checkpoints(tmp_path, keep=2, say=said.append, read_only=True)
    check_is(checkpoints.restore(LIKE), 2)
    checkpoints.close()
    assert "checkpoint of step 3 is damaged" in said[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_the_oldest_stays_until_the_new_one_is_whole(folder, opened, monkeypatch):
    checkpoints = opened(keep=3)

    def cut_short(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("attention_jax.training.checkpoints.write_atomically", cut_short)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(4, make_state(4), {"position": 4})
    checkpoints.close()
    again = opened(keep=3)
    assert again.steps() == [1, 2, 3]
    check_is(again.restore(LIKE), 3)


@pytest.mark.parametrize("name", ["4", "4.orbax-checkpoint-tmp-17"])
def test_a_save_that_was_cut_short_is_removed(folder, opened, said, name):
    (folder / name / "state").mkdir(parents=True)
    (folder / name / "state" / "array").write_bytes(b"half of it")
    checkpoints = opened(keep=3)
    assert not (folder / name).exists()
    check_is(checkpoints.restore(LIKE), 3)
    assert said == []


def test_it_comes_back_where_it_is_to_be(folder, opened):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    like: Any = jax.device_put(LIKE, sharding)
    restored = opened(keep=3).restore(like)
    assert {leaf.sharding for leaf in jax.tree.leaves(restored.state)} == {sharding}


def test_a_step_is_kept_for_as_long_as_it_is_asked_for(tmp_path, opened):
    checkpoints = opened(keep=1)
    for step, also, there in ((1, (), [1]), (2, {1}, [1, 2]), (3, {1, 9}, [1, 3]), (4, {3}, [3, 4]), (5, (), [5])):
        checkpoints.save(step, make_state(step), {"position": step}, keep_also=also)
        assert checkpoints.steps() == there
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"5", "5.manifest.json"}


def test_an_earlier_step_can_be_restored(folder, opened):
    check_is(opened(keep=3).restore(LIKE, step=2), 2)


def test_what_is_kept_is_said(folder, opened):
    checkpoints = opened(keep=3)
    assert checkpoints.kept == "the checkpoint of step 3 is kept"
    shutil.rmtree(folder)
    assert checkpoints.kept == "there is no checkpoint"


def test_a_checkpoint_of_other_arrays_is_refused_in_one_line(folder, opened):
    like = replace(LIKE, params={**LIKE.params, "more": jnp.zeros(3)})
    with pytest.raises(
        Refused, match=r"^the checkpoint of step 3 is not one that this program can .*/3 away, to go.*\.$"
    ):
        opened(keep=3).restore(like)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, opened):
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(Refused, match=r"cannot be used: File exists\. Give another --workdir"):
        opened()


@pytest.mark.parametrize("left", ["state", "beside"])
def test_a_checkpoint_that_is_deleted_before_its_manifest_is_written_gets_none(folder, opened, monkeypatch, left):
    checkpoints = opened(keep=4)
    save = checkpoints._orbax.save

    def save_and_lose(path: Path, **options: Any) -> None:
        save(path, **options)
        shutil.rmtree(path / ({"state", "beside"} - {left}).pop())

    monkeypatch.setattr(checkpoints._orbax, "save", save_and_lose)
    with pytest.raises(NotSaved, match=r"^No such file or directory$"):
        checkpoints.save(4, make_state(4), {"position": 4})
    assert not list(folder.glob("*4*"))
    check_is(checkpoints.restore(LIKE), 3)


def test_an_error_that_has_no_number_is_said_in_its_first_line(opened, monkeypatch):
    checkpoints = opened()
    error = ValueError("No ArrayMetadata found.\nparam_info: ...")
    monkeypatch.setattr(checkpoints._orbax, "save", lambda path, args: (_ for _ in ()).throw(error))
    with pytest.raises(NotSaved, match=r"^No ArrayMetadata found$"):
        checkpoints.save(4, make_state(4), {"position": 4})


def test_a_manifest_without_its_checkpoint_goes(folder, opened):
    shutil.rmtree(folder / "3")
    checkpoints = opened(keep=3)
    assert not (folder / "3.manifest.json").exists()
    check_is(checkpoints.restore(LIKE), 2)
