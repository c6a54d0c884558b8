"""`--launcher=slurm` and `--launcher=local`: a command as a job, by submitit.

A study is an array of supervisors that share its folder and storage; `train` is one run, over the nodes of one job.
"""

import argparse
import io
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.cli import arguments, running
from attention_jax.cli.allocation import Job, read_job
from attention_jax.cli.job import CommandLine

LAUNCHERS = ("slurm", "local")
_ROOT = Path(__file__).resolve().parents[2]
# submitit ends a local job after some minutes where it is given none, and puts a timed-out job back thrice.
_MINUTES, _TIMES = 10 * 365 * 24 * 60, 1_000_000
_JOINING = ("coordinator", "processes", "process_id", "cluster")


def run_or_launch(
    command: Callable[[argparse.Namespace, str], int],
    check: Callable[[argparse.Namespace], Any],
    options: argparse.Namespace,
    line: str,
) -> int:
    """Runs a command here, or submits it and says where it is: it then runs after this process has ended.

    Args:
      command: what is run, as of `running.run_on_devices`.
      check: raises Refused where the command would before its first step.
      options: those of the command, with `launcher` and `job`.
      line: the command line.

    Returns:
      The exit code.

    Raises:
      Refused: by the command or by `check`; a launcher, a key of `job` or an option beside them cannot be; submitit or
        Slurm is not here, or Slurm does not take the job.
    """
    if options.launcher is not None:
        return _launch(check, options, line)
    if options.job is not None:
        raise Refused(f"--job={options.job} is of --launcher=slurm: give that too, or leave it out.")
    return running.run_on_devices(command, options, line)


def _launch(check: Callable[[argparse.Namespace], Any], options: argparse.Namespace, line: str) -> int:
    job, is_study = _job(options), "storage" in options
    supervisors = job.nodes if job and is_study else 1
    in_file = is_study and (options.storage or "sqlite").startswith("sqlite")
    if supervisors > 1 and in_file:
        raise Refused(
            f"--job nodes={supervisors} starts {supervisors} supervisors, and a study.db has one at a time: give "
            "--storage=postgresql+psycopg://USER@HOST/DATABASE, or nodes=1."
        )

    def checked(options: argparse.Namespace, line: str) -> int:
        check(options)
        return 0

    # A run is checked for the devices that it will have; the supervisor of a study has none.
    devices = job.devices if job and not is_study else None
    if code := running.run_on_devices(checked, options, line, devices=devices):
        return code
    workdir = running.workdir_of(options)
    _check_free(workdir, study=is_study, alone=in_file)
    program, rest = _words(options, line)
    if job and job.nodes > 1 and not is_study:
        rest.append("--cluster")
    # Not those that submitit would set: a local job has the GPUs that this process has.
    kept = {} if job else {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES")}
    command = CommandLine([sys.executable, os.path.abspath(sys.argv[0]), *rest], os.getcwd(), kept)
    executor = _slurm(job, workdir, each=1 if is_study else job.nodes) if job else _local(workdir)
    where = [f"--storage={options.storage}"] if is_study and options.storage else []
    status = shlex.join([*program, "status", str(workdir), *where]) if is_study else None
    _say(_submit(executor, command, supervisors), workdir, slurm=job is not None, status=status)
    return 0


def _words(options: argparse.Namespace, line: str) -> tuple[list[str], list[str]]:
    """Returns the program and what it is given, without what launches it."""
    words = shlex.split(arguments.without(line, "--launcher", "--job"))
    place = words.index(options.command)
    return words[:place], words[place:]


def _job(options: argparse.Namespace) -> Job | None:
    """Returns what Slurm is asked for; None for a local job."""
    if options.launcher not in LAUNCHERS:
        near = did_you_mean(options.launcher, LAUNCHERS)
        raise Refused(f"there is no launcher {options.launcher!r}.{near}")
    for name in _JOINING:
        given = getattr(options, name, None)
        if given is not None and given is not False:
            raise Refused(f"--{name} joins processes that were started by hand, --launcher its own: leave out one.")
    try:
        import submitit  # noqa: F401
    except ModuleNotFoundError as error:
        raise Refused(
            f"--launcher={options.launcher} needs the package {error.name}, which is not here: pip install submitit"
        ) from None
    if options.launcher == "local":
        if options.job is not None:
            raise Refused(f"--job={options.job} is for --launcher=slurm: a local job has all of this machine.")
        return None
    for program in ("sbatch", "srun"):
        if shutil.which(program) is None:
            raise Refused(f"--launcher=slurm needs {program}, which is not on PATH: start it where Slurm is.")
    return read_job(options.job)


def _check_free(workdir: Path, *, study: bool, alone: bool) -> None:
    """Makes the folder; raises Refused where it cannot be, or another process is at work in it."""
    from attention_jax.study.engine.run import held
    from attention_jax.training.run.workdir import locked, usable

    with usable(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
    with held(workdir, alone=alone) if study else locked(workdir):
        pass


def _slurm(job: Job, workdir: Path, *, each: int) -> Any:
    """Returns what submits to Slurm jobs of so many nodes each, one process a node."""
    import submitit

    executor = submitit.SlurmExecutor(workdir / "jobs", max_num_timeout=_TIMES)
    own = {name: getattr(job, name) for name in ("partition", "account", "qos", "constraint")}
    asked = {
        "job_name": workdir.resolve().name,
        "time": job.time,
        "nodes": each,
        "ntasks_per_node": 1,
        "cpus_per_task": job.cpus,
        # From Slurm 22.05 on srun does not take it from the job.
        "srun_args": [f"--cpus-per-task={job.cpus}"],
        "gpus_per_node": job.gpus or None,
        "mem": None if job.mem is None else f"{job.mem}GB",
        "signal_delay_s": job.signal,
        "additional_parameters": {"requeue": True},
        "stderr_to_stdout": True,
        **own,
    }
    executor.update_parameters(**{name: value for name, value in asked.items() if value is not None})
    return executor


def _local(workdir: Path) -> Any:
    """Returns what starts jobs on this machine."""
    import submitit

    executor = submitit.LocalExecutor(workdir / "jobs", max_num_timeout=_TIMES)
    executor.update_parameters(timeout_min=_MINUTES, stderr_to_stdout=True)
    return executor


def _submit(executor: Any, command: CommandLine, times: int) -> list[Any]:
    from submitit.core.utils import FailedSubmissionError, UncompletedJobError

    # Where a job looks for this package, also where it is not installed.
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH", ""))))
    os.environ["PYTHONPATH"] = path
    try:
        # submitit prints what sbatch said, which is in the error too.
        with _detached(), redirect_stderr(io.StringIO()):
            jobs: list[Any] = executor.submit_array([command] * times)
            return jobs
    except (FailedSubmissionError, UncompletedJobError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise Refused(f"sbatch did not take the job: {said}. Change --job, say.") from error


@contextmanager
def _detached() -> Iterator[None]:
    """Processes started within outlive the terminal, and hold none of this one's pipes open: as by nohup."""
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    kept = [os.dup(stream) for stream in (0, 1, 2)]
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        yield
    finally:
        for stream, copy in enumerate(kept):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nothing)
        signal.signal(signal.SIGHUP, hang_up)


def _say(jobs: list[Any], workdir: Path, *, slurm: bool, status: str | None) -> None:
    """Prints the jobs and how to look at them and to stop them."""
    names = [job.job_id for job in jobs]
    which = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    print(f"{'submitted' if slurm else 'started'} {'job' if slurm else 'process'} {which}")
    print(f"what it prints: {workdir / 'jobs'}/{'*' if len(names) > 1 else names[0]}_0_log.out")
    if status is not None:
        print(f"look at it: {status}")
    stop = f"scancel {names[0].partition('_')[0]}" if slurm else f"kill {names[0]}"
    print(f"stop it, saved: {stop}")
