"""The processes of a run, one a host: joining them, agreeing, and what the first of them does for all.

A run of one process needs none of this, and every function here then does the plain thing.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from attention_jax.base.errors import Refused

Result = TypeVar("Result")


def join(*, coordinator: str | None, processes: int | None, process_id: int | None, cluster: bool) -> None:
    """Joins this process to the others of a run; call it before JAX is used.

    Args:
      coordinator: "HOST:PORT" of the first process, the same for all; None with `cluster`.
      processes: how many there are.
      process_id: which one this is, from 0.
      cluster: whether to take all three from the environment (Slurm, Open MPI, Kubernetes, a TPU pod).

    Raises:
      Refused: some of it is missing or does not fit, there is no such environment, or the others do not answer.
    """
    given = {"--coordinator": coordinator, "--processes": processes, "--process_id": process_id}
    missing = [flag for flag, value in given.items() if value is None]
    if cluster and len(missing) < 3:
        raise Refused("--cluster takes the processes from the environment: leave out --coordinator and its companions.")
    if not cluster and len(missing) == 3:
        return
    if not cluster:
        if missing:
            raise Refused(f"{' and '.join(missing)} is missing: several processes need {', '.join(given)}, all three.")
        _check(coordinator, processes, process_id)
    try:
        jax.distributed.initialize(coordinator, processes, process_id)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise Refused(
            f"the processes could not be joined: {reason}. Give --coordinator=HOST:PORT, --processes and --process_id, "
            "or --cluster where the environment says them."
        ) from error


def _check(coordinator: str | None, processes: int | None, process_id: int | None) -> None:
    host, _, port = (coordinator or "").rpartition(":")
    if not host or not port.isdigit():
        raise Refused(f"--coordinator={coordinator}: give HOST:PORT, such as node0:1234.")
    if processes is None or processes < 1:
        raise Refused(f"--processes={processes}: give at least 1.")
    if process_id is None or not 0 <= process_id < processes:
        raise Refused(f"--process_id={process_id}: give 0 to {processes - 1}, another for each process.")


def is_first() -> bool:
    """Returns whether this process is the one that writes files and speaks."""
    return jax.process_index() == 0


def wait_for_all(where: str) -> None:
    """Returns when every process has come to `where`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def largest(value: int) -> int:
    """Returns the largest of the values that the processes give; each must call it."""
    if jax.process_count() == 1:
        return value
    return int(np.max(multihost_utils.process_allgather(np.int32(value))))


def in_turn(action: Callable[[], Result]) -> Result:
    """Returns what `action` gives in each process; the first has done it before the others begin."""
    if is_first():
        result = action()
        wait_for_all("the first is done")
        return result
    wait_for_all("the first is done")
    return action()


def first_does(action: Callable[[], object]) -> None:
    """Has the first process do something for all; the others wait until it is done.

    Raises:
      Refused: it was refused there, or a file could not be read or written. Of the other processes each says so too.
    """
    error: Refused | OSError | None = None
    if is_first():
        try:
            action()
        except (Refused, OSError) as raised:
            error = raised
    failed = largest(error is not None)
    if error is not None:
        raise error
    if failed:
        raise Refused("the first process could not go on: it says why.")
