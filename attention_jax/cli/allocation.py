"""What `--job` asks Slurm for: words KEY=VALUE, each checked before anything is submitted."""

import dataclasses
import re
import typing
from dataclasses import dataclass
from typing import Annotated

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.options import AtLeast, check_bounds, kinds

# What Slurm knows of these, but for "4:00", four minutes to it and four hours to most.
_TIME = re.compile(r"(?P<minutes>\d+)|(?:(?P<d>\d+)-)?(?P<h>\d+):(?P<m>[0-5]\d):(?P<s>[0-5]\d)")


@dataclass(frozen=True)
class Job:
    """What a job of Slurm is given.

    Attributes:
      time: minutes of one run of the job; what is not done by then goes on in the next.
      nodes: of a study as many supervisors, each on one; of `train` those that the run is spread over.
      gpus, cpus: on each node.
      mem: gigabytes on each node; None is Slurm's default, as for those below.
      signal: seconds before the end of its time at which the command is told to save.
      partition, account, qos, constraint: Slurm's own.
    """

    time: Annotated[int, AtLeast(1)]
    nodes: Annotated[int, AtLeast(1)] = 1
    gpus: int = 0
    cpus: Annotated[int, AtLeast(1)] = 1
    mem: Annotated[int | None, AtLeast(1)] = None
    signal: Annotated[int, AtLeast(1)] = 120
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None

    def __post_init__(self) -> None:
        check_bounds(Job, vars(self), owner="--job ")
        if self.signal >= 60 * self.time:
            raise Refused(f"--job signal={self.signal}: the job has {60 * self.time} seconds: give fewer.")

    @property
    def devices(self) -> int:
        """How many there are in all: the GPUs, or where there are none the cores."""
        return self.nodes * (self.gpus or self.cpus)


def read_job(text: str | None) -> Job:
    """Returns the job that words such as "partition=gpu time=4:00:00 gpus=2" describe.

    Raises:
      Refused: a word is no KEY=VALUE, there is no such key, it takes no such value, or there is no time.
    """
    fields = {field.name: field for field in dataclasses.fields(Job)}
    given: dict[str, int | str] = {}
    for word in (text or "").split():
        name, equals, value = word.partition("=")
        if not equals or not value:
            raise Refused(f"--job has the word {word!r}: give KEY=VALUE, such as time=4:00:00.")
        if name not in fields:
            raise Refused(f"--job has no key {name!r} (given {value!r}).{did_you_mean(name, fields)}")
        if name in given:
            raise Refused(f"--job has {name} twice: leave out one.")
        given[name] = _minutes(value) if name == "time" else _value(name, value)
    if "time" not in given:
        raise Refused("--launcher=slurm needs the time of the job: give --job='time=4:00:00', say.")
    return Job(**given)  # type: ignore[arg-type]


def _minutes(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise Refused(f"--job time={text}: give minutes, H:MM:SS or D-HH:MM:SS.")
    part = {name: int(number or 0) for name, number in found.groupdict().items()}
    return part["minutes"] + (part["d"] * 24 + part["h"]) * 60 + part["m"] + (part["s"] > 0)


def _value(name: str, text: str) -> int | str:
    if int not in kinds(typing.get_type_hints(Job)[name]):
        return text
    if not text.isdecimal() or len(text) > 9:
        raise Refused(f"--job {name}={text}: it takes a whole number.")
    return int(text)
