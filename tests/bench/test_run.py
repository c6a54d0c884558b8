"""The turns: who gives a sample when, what is kept, and what becomes of a peer, a result or a process that fails."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from attention_jax.bench import run
from attention_jax.bench.cases import Case, LeftOut
from attention_jax.bench.group import WorkerEnded
from attention_jax.bench.measures import Comparison, Measure, Settings
from attention_jax.kernels import Refused
from attention_jax.training.run.workdir import read_lines

SETTINGS = Settings(tokens=16, heads=2, width=4)
OURS = SETTINGS.case(causal=False)
PEERS = {"jax.nn": SETTINGS.case(who="jax.nn"), "torch": SETTINGS.case(who="torch", process="torch")}


@dataclass
class Workers:
    """Stands for every group: answers as its fields say, and keeps what it was asked."""

    digests: dict[str, list[list[float]]]
    samples: dict[str, float]
    left_out: dict[str, str] = field(default_factory=dict)
    ends: list[str] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    name: str = ""

    def group(self, name, *, logs, started):
        self.name = name
        self.groups.append(name)
        started(process="one_device", pid=7, environment={"cpu": "a cpu", "jax": "1.2.3"})
        return contextlib.nullcontext(self)

    def forget(self):
        self.asked.append(("forget", ""))

    def ask(self, case: Case, do: str):
        self.asked.append((do, case.who))
        if case.who in self.left_out:
            raise LeftOut(self.left_out[case.who])
        if do == "sample" and case.who in self.ends:
            self.ends.remove(case.who)
            raise WorkerEnded("the worker one_device ended with signal 9: killed")
        if do == "sample":
            return {"value": self.samples[case.who], "calls": 3}
        return {"digest": self.digests[case.who], "about": {"devices": 1}}


@pytest.fixture
def workers(monkeypatch):
    """Fake workers, whose results agree, in place of the real ones."""
    workers = Workers(
        digests={"attention_jax": [[0.0, 1.0]], "jax.nn": [[0.0, 1.0]], "torch": [[0.0, 1.0 + 1e-6]]},
        samples={"attention_jax": 2.0, "jax.nn": 10.0, "torch": 1.0},
    )
    monkeypatch.setattr(run, "Group", workers.group)
    return workers


@pytest.fixture
def bench(monkeypatch, tmp_path, capsys, workers):
    """Runs measures with the fake workers: (comparisons) -> failures, lines of the record, what was printed."""

    def bench(*comparisons, repeats=3):
        fake = Measure("fake", "a measure", lambda settings: iter(comparisons))
        monkeypatch.setitem(run.MEASURES, "attention", (fake,))
        failures = run.run_bench(SETTINGS, names=None, repeats=repeats, workdir=tmp_path)
        return failures, read_lines(tmp_path / "samples.jsonl"), capsys.readouterr().out

    return bench


def comparison(what="forward", peers=PEERS, **fields):
    return Comparison(what=what, ratio="speed", ours=OURS, peers=peers, **fields)


def test_everyone_is_prepared_and_then_they_take_turns(bench, workers):
    bench(comparison())
    everyone = ["attention_jax", "jax.nn", "torch"]
    turns = [("prepare", who) for who in everyone] + [("sample", who) for who in everyone] * 3
    assert workers.asked == [*turns, ("forget", "")]


def test_every_sample_is_a_line_with_all_that_it_is_of(bench):
    failures, lines, out = bench(comparison())
    assert failures == 0
    assert [line["kind"] for line in lines] == ["environment"] + ["agreement"] * 2 + ["sample"] * 9
    assert lines[0].items() >= {"group": "fake-1", "process": "one_device", "pid": 7}.items()
    assert lines[1].items() >= {"peer": "jax.nn", "difference": 0.0, "what": "forward"}.items()
    sample = dict(lines[-1])
    assert len(sample.pop("run")) == len("2026-01-02T03:04:05+00:00")
    assert sample == {
        "kind": "sample", "group": "fake-1", "measure": "fake", "what": "forward", "peer": "torch", "process": "torch",
        "shape": {"B": 1, "T": 16, "S": 16, "N": 2, "H": 4}, "round": 2, "devices": 1, "calls": 3, "milliseconds": 1.0,
    }  # fmt: skip
    assert "| forward | 2.00 ms | jax.nn | 10.00 ms | 5x the speed | 0 |" in out.splitlines()
    assert "| forward | 2.00 ms | torch | 1.00 ms | 0.5x the speed | 2e-06 |" in out.splitlines()
    assert "cpu a cpu, jax 1.2.3. float32, B1 N2 H4 unless" in out


def test_a_second_run_goes_on_in_the_same_file(bench, tmp_path):
    _, first, _ = bench(comparison())
    _, both, _ = bench(comparison())
    assert both[: len(first)] == first
    assert len(both) == 2 * len(first)
    assert (tmp_path / "table.md").read_text().startswith("| measure |")


def test_a_missing_peer_is_a_note_and_the_others_are_measured(bench, workers):
    workers.left_out["torch"] = "torch cannot be imported"
    failures, lines, out = bench(comparison(), comparison("backward"))
    assert failures == 0
    assert {line["peer"] for line in lines if line["kind"] == "sample"} == {"attention_jax", "jax.nn"}
    assert [line["reason"] for line in lines if line["kind"] == "left_out"] == ["torch cannot be imported"] * 2
    assert "- torch, 2 lines: torch cannot be imported" in out.splitlines()


def test_ours_alone_is_not_timed(bench, workers):
    workers.left_out["torch"] = "torch cannot be imported"
    _, lines, out = bench(comparison(peers={"torch": PEERS["torch"]}))
    assert not [line for line in lines if line["kind"] == "sample"]
    assert "- torch, forward: torch cannot be imported" in out.splitlines()


def test_when_ours_is_refused_the_comparison_is_left_out(bench, workers):
    workers.left_out["attention_jax"] = "refused: engine ring cannot run here"
    failures, lines, out = bench(comparison())
    assert (failures, [line["kind"] for line in lines]) == (0, ["environment", "left_out"])
    assert "- attention_jax, forward: refused: engine ring cannot run here" in out.splitlines()


@pytest.mark.parametrize("wrong", [[[0.0, 1.01]], [[0.0, float("nan")]]], ids=["far", "nan"])
def test_a_wrong_result_is_not_timed_and_fails(bench, wrong, workers):
    workers.digests["torch"] = wrong
    failures, lines, out = bench(comparison())
    assert failures == 1
    assert not [line for line in lines if line["kind"] == "sample"]
    assert "the results differ: ours from that of torch by" in out


def test_a_result_that_must_equal_its_reference_may_differ_from_its_peers(bench, workers):
    reference = SETTINGS.case(who="reference")
    workers.digests |= {"torch": [[9.0, 5.0]], "jax.nn": [[3.0, 2.0]], "reference": [[0.0, 1.0]]}
    assert bench(comparison(reference=reference))[0] == 0
    workers.digests["reference"] = [[0.0, 1.1]]
    failures, _, out = bench(comparison(reference=reference))
    assert failures == 1
    assert "ours from that of the dense engine by" in out


def test_tokens_that_differ_are_told_and_timed_and_what_has_none_is_not_compared(bench, workers):
    workers.digests = {"attention_jax": [[1, 2, 3]], "jax.nn": [[1, 2, 4]], "torch": []}
    failures, lines, out = bench(comparison(tokens=True))
    assert failures == 0
    assert [line["difference"] for line in lines if line["kind"] == "agreement"] == [pytest.approx(1 / 3)]
    assert "- jax.nn, forward: the tokens differ first at new token 2 of row 0" in out.splitlines()
    assert sum(line["kind"] == "sample" for line in lines) == 9


def test_after_a_worker_ended_the_next_comparison_has_a_new_group(bench, workers):
    workers.ends.append("jax.nn")
    failures, lines, out = bench(comparison("first"), comparison("second"))
    assert failures == 1
    assert workers.groups == ["fake-1", "fake-2"]
    assert {line["group"] for line in lines if line.get("what") == "second"} == {"fake-2"}
    assert "- attention_jax, first: the worker one_device ended with signal 9: killed" in out.splitlines()
    assert sum(line.startswith("| second ") for line in out.splitlines()) == 2


def test_bytes_are_taken_once(bench):
    ours = SETTINGS.case(quantity="temporary")
    _, lines, _ = bench(Comparison("memory", "bytes", ours, {"jax.nn": SETTINGS.case(who="jax.nn", quantity="total")}))
    samples = [line for line in lines if line["kind"] == "sample"]
    assert [(line["peer"], line["bytes"]) for line in samples] == [("attention_jax", 2.0), ("jax.nn", 10.0)]


@pytest.mark.parametrize(
    ("settings", "given", "says"),
    [
        ({"tokens": 8}, {}, "--tokens=8 is too small: give at least 16."),
        ({"heads": 0}, {}, "--heads=0 is too small"),
        ({"run_longest": 0}, {}, "--run_longest=0 is too small"),
        ({"engine": "blokwise"}, {}, "there is no engine 'blokwise'."),
        ({}, {"repeats": 0}, "--repeats=0 leaves nothing to measure"),
        ({}, {"names": ["decod"]}, "there is no measure 'decod'. Did you mean 'decode'?"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_written(settings, given, says, tmp_path):
    arguments = {"names": None, "repeats": 1, **given}
    with pytest.raises(Refused) as refusal:
        run.run_bench(Settings(**settings), workdir=tmp_path / "W", **arguments)
    assert says in str(refusal.value)
    assert not (tmp_path / "W").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match=r"cannot be used: .* Give another --workdir"):
        run.run_bench(SETTINGS, names=None, repeats=1, workdir=tmp_path / "file")
