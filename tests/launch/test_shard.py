"""`launch.py shard`: where the parameters lie, without a parameter."""

import os
import re
from pathlib import Path

import jax
import pytest

from attention_jax.cli.shard_report import print_shards
from attention_jax.training import Experiment
from tests.launch.command_line import RECALL, Answer, contents, launch, write_config
from tests.launch.test_refusals import answers, assert_refused

# [16, 2, 8] for the projections, [16, 64] for the feed-forward layer, float32.
MESH = ("--config.mesh.data=2", "--config.mesh.fsdp=2", "--config.mesh.tensor=2")


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answer, dict[str, bytes]]:
    """What is said for eight devices, and the files there are then."""
    folder = tmp_path_factory.mktemp("eight")
    config = write_config(folder / "recall.py", RECALL)
    answer = launch("shard", config, "--devices=8", *MESH, environment={"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"})
    assert (answer.code, answer.err) == (0, "")
    return answer, contents(folder)


def rows(answer: Answer) -> dict[str, list[str]]:
    """The cells behind the first one of each row of the tables."""
    cells = [re.split(r" {2,}", line.strip()) for line in answer.out.splitlines() if line.strip()]
    return {first: rest for first, *rest in cells}


def test_each_parameter_has_its_spec_and_its_bytes_on_a_device_and_in_all(eight):
    answer, files = eight
    found = rows(answer)
    assert answer.out.startswith("mesh: data 2 x fsdp 2 x tensor 2 x sequence 1 = 8 cpu devices\n")
    assert found["parameter"] == ["shape", "lies over", "a device", "of all"]
    assert found["block_0/attention/query/kernel"] == ["[16, 2, 8]", "(fsdp, tensor)", "256 B", "1.0 KiB"]
    assert found["block_0/feed_forward/hidden/kernel"] == ["[16, 64]", "(fsdp, tensor)", "1.0 KiB", "4.0 KiB"]
    assert found["token/embedding"] == ["[16, 16]", "(-, fsdp)", "512 B", "1.0 KiB"]
    assert found["norm/scale"] == ["[16]", "()", "64 B", "64 B"]
    assert sum("/" in path and len(cells) == 4 for path, cells in found.items()) == 14
    assert set(files) == {"recall.py"}


def test_the_memory_of_a_device_and_the_collectives_of_the_step_are_told(eight):
    found = rows(eight[0])
    in_bytes = {"B": 1, "KiB": 2**10, "MiB": 2**20}

    def size(name):
        number, unit = found[name][0].split()
        return float(number) * in_bytes[unit]

    # Kernels in quarters, embeddings in halves, norms whole; Adam has two arrays of each and two counts.
    held = 4 * ((4 * 256 + 2 * 1024) // 4 + (16 + 8) * 16 // 2 + 6 * 16)
    assert size("parameters") == pytest.approx(held, abs=60)
    assert size("optimizer state") == pytest.approx(2 * held + 8, abs=60)
    # 4 of 16 rows of 8 tokens: inputs, targets, weights; and the places of 2 queries.
    assert size("the batch") == 4 * (8 * 3 + 2) * 4
    assert size("all of the step at its peak") > size("activations and other temporaries of the step, at most") > 0
    assert "average of the parameters" not in found
    times, to_each, largest, *_ = found["all-reduce"]
    assert int(times) > 0
    assert re.fullmatch(r"[\d.]+ (B|KiB)", to_each)
    assert re.match(r"f32\[[\d, ]*\] x \d+", largest)
    assert "all-gather" in found
    assert "collective-permute" not in found


def test_what_cannot_lie_so_is_refused_in_one_line(tmp_path: Path) -> None:
    recall = write_config(tmp_path / "recall.py", RECALL)
    cases = [
        (("--devices=0",), ("--devices=0: give at least 1.",)),
        # The first one here that asks JAX for its devices: they stay eight from then on.
        (("--config.mesh.data=16",), ("mesh.data=16 asks for 16 devices and there are 8",)),
        (("--config.mesh.data=1", "--config.mesh.tensor=4"), ("4 devices of mesh axis 'tensor' do not divide 2",)),
        (("--config.mesh.data=1", "--config.mesh.sequence=3"), ("8 query tokens do not divide among 3 devices",)),
        (("--config.parameter_rules=(('head/.*',()),)",), ("'head/.*' matches no parameter.",)),
        (("--config.parameter_rules=(('norm/scale',('fsp',)),)",), ("no mesh axis 'fsp'. Did you mean 'fsdp'?",)),
    ]
    commands = [["shard", recall, *words] for words, _ in cases]
    commands.append(["shard", "--config=experiments/demo.py"])
    # `use_every_core` leaves the number of devices to whom has set it here.
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    given = answers(commands, environment={"XLA_FLAGS": flags})
    for answer, (words, says) in zip(given, [*cases, (("demo",), ("use launch.py compare",))], strict=True):
        assert_refused(answer, says, about=(words, answer))


def test_nothing_is_allocated_for_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Experiment, "create_state", None)
    before = {id(array) for array in jax.live_arrays()}
    experiment = Experiment(**{**RECALL, "mesh": {"data": 1}})
    print_shards(experiment)
    new = [array for array in jax.live_arrays() if id(array) not in before]
    assert sum(array.nbytes for array in new) < 1024
    said = capsys.readouterr().out
    assert said.startswith("mesh: data 1 x fsdp 1 x tensor 1 x sequence 1 = 1 cpu devices\n")
    assert "none: one device" in said
    assert re.search(
        r"^block_0/attention/out/kernel +\[2, 8, 16\] +\(tensor, -, fsdp\) +1\.0 KiB +1\.0 KiB$", said, re.M
    )
