"""`--launcher=local` by submitit's executor, `--launcher=slurm` by stand-ins for Slurm's programs, first on PATH."""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from attention_jax.base.errors import Refused
from attention_jax.cli.allocation import Job, read_job
from attention_jax.cli.arguments import without
from attention_jax.cli.main import parse
from tests.launch.command_line import RECALL, Answer, launch, read_jsonl, write_config
from tests.launch.conftest import Finished
from tests.launch.test_crash import recorded
from tests.launch.test_refusals import answers, assert_refused
from tests.launch.test_scale import LINES, words_of
from tests.launch.test_sweep import SPACE

pytest.importorskip("submitit", reason="submitit is not installed: pip install submitit")

SBATCH = """#!/bin/bash
cp "$1" "$STAND_INS/submitted.sh"
echo "Submitted batch job 12345"
"""
# Runs the command with its output in its file, and leaves its process id: what signals a job signals that one.
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do
  if [[ "$1" == --output ]]; then log="$2"; shift; fi
  shift
done
log="${log//%j/12345}"
log="${log//%t/0}"
echo $$ > "$STAND_INS/pid"
exec "$@" >> "$log" 2>&1
"""
SCONTROL = """#!/bin/bash
echo "$@" >> "$STAND_INS/scontrol.txt"
"""


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The variables with which `sbatch`, `srun` and `scontrol` keep what they are given in the folder STAND_INS."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "scontrol": SCONTROL}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "STAND_INS": str(folder)}


def flags(slurm: dict[str, str]) -> list[str]:
    """Returns the options of the file that was submitted."""
    text = (Path(slurm["STAND_INS"]) / "submitted.sh").read_text()
    return [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]


def run_job(slurm: dict[str, str], **variables: str) -> "subprocess.Popen[bytes]":
    """Starts the file that was submitted, as a node of the job does."""
    of_job = {"SLURM_JOB_ID": "12345", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_JOB_NODELIST": "node0"}
    environment = {**os.environ, **slurm, **of_job, **variables}
    return subprocess.Popen(["bash", str(Path(slurm["STAND_INS"]) / "submitted.sh")], env=environment)


def await_that(condition, seconds: float = 400.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_local_job_that_is_ended_saves_and_the_same_command_goes_on(finished: Finished, tmp_path: Path) -> None:
    workdir = tmp_path / "W"
    words = ("train", finished.config, f"--workdir={workdir}", "--launcher", "local")
    answer = launch(*words)
    assert answer.code == 0, answer.err
    await_that(lambda: recorded(workdir) > 20)
    told, _, number = answer.out.splitlines()[2].partition(": kill ")
    assert told == "stop it, saved"
    os.kill(int(number), signal.SIGTERM)
    log = workdir / "jobs" / f"{number}_0_log.out"
    assert answer.out.splitlines()[:2] == [f"started process {number}", f"what it prints: {log}"]
    await_that(lambda: "stopped and saved" in log.read_text())
    answer = launch(*words)
    assert answer.code == 0, answer.err
    log = Path(answer.out.splitlines()[1].removeprefix("what it prints: "))
    await_that(lambda: "evaluate again: python launch.py eval" in log.read_text())
    assert "--launcher" not in log.read_text()
    assert (workdir / "metrics.jsonl").read_bytes() == (finished.workdir / "metrics.jsonl").read_bytes()


@pytest.mark.long
def test_a_sweep_runs_as_a_local_job(tmp_path: Path) -> None:
    config, workdir = write_config(tmp_path / "recall.py", {**RECALL, "steps": 10}), tmp_path / "W"
    words = ("sweep", config, SPACE, "--sampler=grid", f"--workdir={workdir}", "--best=1", "--fresh_seeds=1")
    answer = launch(*words, "--workers=1", "--launcher=local")
    assert answer.code == 0, answer.err
    assert f"look at it: python launch.py status {workdir}" in answer.out
    await_that((workdir / "best.py").exists)


def test_a_comparison_is_an_array_of_supervisors(slurm: dict[str, str], tmp_path: Path) -> None:
    config, workdir = write_config(tmp_path / "recall.py", RECALL), tmp_path / "W"
    job = "--job=partition=gpu time=4:00:00 gpus=2 cpus=8 mem=64 nodes=4 account=mine signal=300"
    storage = "--storage=postgresql+psycopg://me@server/studies"
    answer = launch("compare", config, f"--workdir={workdir}", storage, "--launcher=slurm", job, environment=slurm)
    assert answer.code == 0, answer.err
    given = flags(slurm)
    assert {"partition=gpu", "time=240", "gpus-per-node=2", "cpus-per-task=8", "mem=64GB"} <= set(given)
    assert {"array=0-3%4", "nodes=1", "requeue", "signal=USR2@300", "account=mine", "job-name=W"} <= set(given)
    assert answer.out.splitlines() == [
        "submitted job 12345_0 to 12345_3",
        f"what it prints: {workdir}/jobs/*_0_log.out",
        f"look at it: python launch.py status {workdir} {storage}",
        "stop it, saved: scancel 12345",
    ]
    assert not (workdir / "study.db").exists()


@pytest.mark.long
def test_a_run_over_nodes_is_one_job_whose_processes_join(slurm: dict[str, str], tmp_path: Path) -> None:
    config, workdir = write_config(tmp_path / "recall.py", RECALL), tmp_path / "W"
    words = ("train", config, "--config.mesh.fsdp=4", "--config.mesh.data=2", f"--workdir={workdir}")
    answer = launch(*words, "--launcher=slurm", "--job=time=1-00:00:00 nodes=2 gpus=4", environment=slurm)
    assert answer.code == 0, answer.err
    assert {"nodes=2", "ntasks-per-node=1", "time=1440", "gpus-per-node=4"} <= set(flags(slurm))
    assert not [flag for flag in flags(slurm) if flag.startswith("array")]
    # What the job runs, as the job reads it.
    read = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).function.words)"
    pickled = workdir / "jobs" / "12345_submitted.pkl"
    shown = subprocess.run(["python", "-c", read, pickled], capture_output=True, text=True, check=True)
    assert shown.stdout.rstrip().endswith(f"'--workdir={workdir}', '--cluster']")


def test_a_pre_empted_job_saves_is_put_back_and_ends_as_one_that_was_not(
    finished: Finished, slurm: dict[str, str], tmp_path: Path
) -> None:
    workdir, stand_ins = tmp_path / "W", Path(slurm["STAND_INS"])
    words = ("train", finished.config, f"--workdir={workdir}", "--launcher=slurm", "--job=time=60")
    answer = launch(*words, environment=slurm)
    assert answer.code == 0, answer.err
    job = run_job(slurm)
    await_that(lambda: recorded(workdir) > 20)
    process = int((stand_ins / "pid").read_text())
    # As Slurm does it: SIGTERM, then the signal that was asked for.
    os.kill(process, signal.SIGTERM)
    time.sleep(0.1)
    os.kill(process, signal.SIGUSR2)
    assert job.wait(timeout=400) != 0
    assert recorded(workdir) < 120
    assert (stand_ins / "scontrol.txt").read_text() == "requeue 12345\n"
    assert run_job(slurm).wait(timeout=400) == 0
    assert (workdir / "metrics.jsonl").read_bytes() == (finished.workdir / "metrics.jsonl").read_bytes()
    log = (workdir / "jobs" / "12345_0_log.out").read_text()
    assert log.count("stopped and saved") == log.count("resuming from the checkpoint of step") == 1
    assert (stand_ins / "scontrol.txt").read_text() == "requeue 12345\n"


@pytest.mark.long
def test_a_run_that_fails_is_not_put_back(slurm: dict[str, str], tmp_path: Path) -> None:
    sections = {**RECALL, "optimizer": {"name": "sgd", "learning_rate": 1e30}}
    config, workdir = write_config(tmp_path / "recall.py", sections), tmp_path / "W"
    answer = launch("train", config, f"--workdir={workdir}", "--launcher=slurm", "--job=time=60", environment=slurm)
    assert answer.code == 0, answer.err
    assert run_job(slurm).wait(timeout=400) == 1
    assert not (Path(slurm["STAND_INS"]) / "scontrol.txt").exists()
    assert read_jsonl(workdir / "metrics.jsonl")


def test_what_cannot_be_is_refused_before_anything_is_submitted(slurm: dict[str, str], tmp_path: Path) -> None:
    config, workdir = write_config(tmp_path / "recall.py", RECALL), tmp_path / "W"
    job, one = "--job=time=60", [config, f"--workdir={workdir}"]
    of_train = [
        (["--launcher=slrum"], ("no launcher 'slrum'", "Did you mean 'slurm'?")),
        (["--launcher=slurm"], ("needs the time",)),
        ([job], ("--job=time=60 is of --launcher=slurm",)),
        (["--launcher=slurm", job, "--process_id=0"], ("--process_id joins",)),
        (["--launcher=local", job], ("--job=time=60 is for --launcher=slurm",)),
        (["--launcher=slurm", job, "--cluster"], ("--cluster joins", "leave out one")),
        (["--launcher=slurm", job, "--config.batch_size=97"], ("batch_size=97",)),
        (["--launcher=slurm", job, "--config.mesh.fsdp=4"], ("fsdp",)),
    ]
    of_studies = [
        (["compare", *one, job, "--seeds=0,-1"], ("seeds=0,-1",)),
        (["compare", *one, job, "--retry=fialed"], ("Did you mean 'failed'?",)),
        (["compare", *one, "--job=time=60 nodes=2"], ("2 supervisors", "--storage=postgresql")),
        (["sweep", *one, job, "--space=model.widht=[16]"], ("Did you mean 'model.width'?",)),
    ]
    of_train = [(["train", *one, *words], says) for words, says in of_train]
    of_studies = [([*words, "--launcher=slurm"], says) for words, says in of_studies]
    # Two processes: a run is checked for the devices of its job, of which JAX knows one number only.
    for cases in (of_train, of_studies):
        given = answers([words for words, _ in cases], environment=slurm)
        for (words, says), answer in zip(cases, given, strict=True):
            assert_refused(answer, says, about=(words, answer))
    assert not workdir.exists()
    assert not (Path(slurm["STAND_INS"]) / "submitted.sh").exists()


def test_slurm_that_is_not_here_or_does_not_take_the_job_is_one_line(slurm: dict[str, str], tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", RECALL)
    words = ["train", config, f"--workdir={tmp_path / 'W'}", "--launcher=slurm", "--job=time=60 partition=none"]
    (answer,) = answers([words], environment={})
    assert_refused(answer, ("needs sbatch, which is not on PATH",), about=answer)
    (Path(slurm["STAND_INS"]) / "sbatch").write_text("#!/bin/bash\necho 'invalid partition: none' >&2\nexit 1\n")
    refused: Answer = launch(*words, environment=slurm)
    assert_refused(refused, ("sbatch did not take the job", "invalid partition: none"), about=refused)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("time", "KEY=VALUE"),
        ("time=", "KEY=VALUE"),
        ("time=4:00", "H:MM:SS"),
        ("time=0", "time=0: give a whole number of at least 1"),
        ("time=60 nodes=0", "nodes=0: give a whole number of at least 1"),
        ("time=60 gpus=two", "gpus=two: it takes a whole number"),
        ("time=60 partitoin=gpu", "Did you mean 'partition'?"),
        ("time=60 time=30", "time twice"),
        ("time=1 signal=60", "signal=60: the job has 60 seconds"),
    ],
)
def test_a_word_of_the_job_that_cannot_be_is_refused(text: str, says: str) -> None:
    with pytest.raises(Refused) as refusal:
        read_job(text)
    assert says in str(refusal.value)


def test_the_time_of_a_job_is_in_minutes() -> None:
    assert [read_job(f"time={text}").time for text in ("90", "1:30:00", "2-01:00:01", "0:10:30")] == [90, 90, 2941, 11]
    assert read_job("time=60 nodes=2 gpus=4") == Job(time=60, nodes=2, gpus=4)
    assert [Job(60, nodes=2, gpus=4).devices, Job(60, nodes=2, cpus=3).devices] == [8, 6]


def test_the_jobs_of_the_documentation_can_be_read() -> None:
    parsed = [parse(words_of(line)) for line in LINES if "--launcher" in line]
    jobs = [read_job(options.job) for options in parsed if options.launcher == "slurm"]
    assert [(job.nodes, job.gpus, job.cpus, job.time) for job in jobs] == [(4, 8, 1, 240), (4, 0, 16, 240)]
    assert {options.launcher for options in parsed} == {"slurm", "local"}


def test_a_command_line_without_an_option_of_either_form() -> None:
    line = shlex.join(["python", "launch.py", "sweep", "--job=a b", "--space=x y", "--job", "c d", "--jobs=1"])
    assert without(line, "--job") == "python launch.py sweep '--space=x y' --jobs=1"
