"""What a job of a scheduler runs: a command line as a process of its own, told to save before the job ends.

submitit pickles a `CommandLine` and calls it in the job. To pre-empt a job, or when its time is over, it is sent
SIGUSR2: submitit asks `checkpoint` for what is to run next, and puts the job back into the queue.
"""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

# From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1
# Slurm sends SIGTERM when it pre-empts a job, and puts it back itself, or sends SIGUSR2, within so long. A job that had
# ended by then would count as finished; of several processes the first is the one that puts it back.
_GRACE_SECONDS = 600.0


class CommandLine:
    """A command line that a job runs; nothing else of the launching process goes into the job."""

    def __init__(self, words: list[str], cwd: str, environ: Mapping[str, str | None]):
        """Says what is to run, and runs nothing.

        Args:
          words: the program and its arguments.
          cwd: the folder that it runs in.
          environ: variables that are set in the job's environment, or removed from it where None.
        """
        self.words, self.cwd, self.environ = words, cwd, dict(environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._told = False

    def __call__(self) -> None:
        """Runs the command to its end.

        Raises:
          SystemExit: it did not end with 0; with its exit code, 128 + N where signal N ended it.
        """
        signal.signal(signal.SIGTERM, self._stop)
        changed = {**os.environ, **self.environ}
        environ = {name: value for name, value in changed.items() if value is not None}
        # A session of its own, and no such signals: who signals all processes of a job would end it without saving.
        self._process = subprocess.Popen(
            self.words, cwd=self.cwd, env=environ, start_new_session=True, preexec_fn=_begin_child
        )
        code = _exit_code(self._process.pid)
        stopped = self._told or code == 128 + signal.SIGTERM
        if stopped and os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
            time.sleep(_GRACE_SECONDS)
        if code:
            raise SystemExit(code)

    def checkpoint(self) -> Any:
        """Has the command save and waits until it has ended.

        Returns:
          What submitit is to run when the job begins again: the same. None where the command failed or was refused, as
          it would be again.
        """
        # Imported by the job alone: whoever launches may not have it.
        from submitit.helpers import DelayedSubmission

        if self._process is not None:
            self._stop()
            if _exit_code(self._process.pid) in (1, 2):
                return None
        return DelayedSubmission(CommandLine(self.words, self.cwd, self.environ))

    def _stop(self, signum: int = signal.SIGTERM, frame: FrameType | None = None) -> None:
        """Sends SIGTERM once: a second one would end the command without saving."""
        if self._process is not None and not self._told:
            self._told = True
            os.kill(self._process.pid, signal.SIGTERM)


def _exit_code(pid: int) -> int:
    """Waits until a child has ended, and returns its exit code, 128 + N where signal N ended it.

    It can be asked again, also by a handler of a signal that interrupts it, which `subprocess.Popen.wait` can not.
    """
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    return ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status


def _begin_child() -> None:
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    # Where this process is killed, its command saves and ends.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
