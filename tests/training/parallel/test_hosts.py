"""What cannot join is refused before anything waits; one process alone needs nobody."""

import jax
import pytest

from attention_jax.kernels import Refused
from attention_jax.training.parallel import hosts


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"processes": 2}, r"^--coordinator and --process_id is missing: several processes need --coordinator, "),
        ({"coordinator": "node0", "processes": 2, "process_id": 0}, r"^--coordinator=node0: give HOST:PORT, such as"),
        ({"coordinator": "node0:1234", "processes": 0, "process_id": 0}, r"^--processes=0: give at least 1\."),
        ({"coordinator": "node0:1234", "processes": 2, "process_id": 2}, r"^--process_id=2: give 0 to 1, another"),
        ({"processes": 2, "cluster": True}, r"^--cluster takes the processes from the environment: leave out"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags, message):
    with pytest.raises(Refused, match=message):
        hosts.join(**{"coordinator": None, "processes": None, "process_id": None, "cluster": False, **flags})


def test_a_cluster_that_the_environment_does_not_say_is_refused(monkeypatch):
    def initialize(*arguments):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(Refused, match=r"^the processes could not be joined: coordinator_address should be defined\. "):
        hosts.join(coordinator=None, processes=None, process_id=None, cluster=True)


def test_without_flags_nothing_is_joined(monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", lambda *arguments: pytest.fail("joined"))
    hosts.join(coordinator=None, processes=None, process_id=None, cluster=False)


def test_one_process_is_the_first_agrees_with_itself_and_does_all():
    done = []
    assert hosts.is_first()
    assert hosts.largest(7) == 7
    hosts.first_does(lambda: done.append("first"))
    assert hosts.in_turn(lambda: "turn") == "turn"
    hosts.wait_for_all("here")
    assert done == ["first"]


@pytest.mark.parametrize("error", [Refused("no"), OSError("no")])
def test_what_the_first_is_refused_is_raised(error):
    def refused():
        raise error

    with pytest.raises(type(error), match="no"):
        hosts.first_does(refused)
