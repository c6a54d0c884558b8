"""What a run says: one line that renews itself on a terminal, plain lines in a log, both with rate and time left."""

import io

import pytest

from attention_jax.training.run.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """Returns what is to be seen, a line a row: a carriage return overwrites."""
        rows = []
        for row in self.getvalue().split("\n"):
            shown: list[str] = []
            for piece in row.split("\r"):
                shown[: len(piece)] = piece
            rows.append("".join(shown).rstrip())
        return rows


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time, in its one entry."""
    now = [100.0]
    monkeypatch.setattr("attention_jax.training.run.progress.time.monotonic", lambda: now[0])
    return now


def update(progress: Progress, step: int, *, rate: float = 2.0) -> None:
    progress.update(step=step, steps=500, rate=rate, values={"loss": 1.23456789})


def test_a_log_gets_a_plain_line_every_ten_seconds(clock):
    stream = io.StringIO()
    progress = Progress(stream=stream)
    for step in (1, 2, 100, 101, 102, 480):
        update(progress, step)
        clock[0] += 5
    assert stream.getvalue().splitlines() == [
        "step 100/500  loss 1.235  2.0 steps/s  3m20s left",
        "step 102/500  loss 1.235  2.0 steps/s  3m19s left",
    ]


def test_a_terminal_shows_one_line_that_renews_itself(clock):
    stream = Terminal()
    progress = Progress(stream=stream)
    clock[0] += 1
    update(progress, 100)
    assert stream.screen() == ["step 100/500  loss 1.235  2.0 steps/s  3m20s left"]
    clock[0] += 0.1
    update(progress, 101)
    assert stream.screen()[0].startswith("step 100/500")
    clock[0] += 0.2
    update(progress, 480, rate=10)
    assert stream.screen() == ["step 480/500  loss 1.235  10.0 steps/s  2s left"]
    progress.say("saved")
    assert stream.screen() == ["saved", ""]


def test_another_rate_stands_beside_that_of_the_steps():
    stream = io.StringIO()
    progress = Progress(stream=stream, every_seconds=0)
    progress.update(step=9, steps=10, rate=1.0, values={}, beside="12.3k tokens/s")
    assert "1.0 steps/s  12.3k tokens/s  1s left" in stream.getvalue()


def test_a_label_stands_before_every_line(clock):
    stream = io.StringIO()
    progress = Progress("mqar / linear", stream=stream, every_seconds=0)
    progress.say("resuming")
    progress.note("step 8/500  validation_loss 2")
    update(progress, 9)
    assert [line.startswith("mqar / linear: ") for line in stream.getvalue().splitlines()] == [True] * 3


def test_brief_leaves_out_the_notes_only():
    stream = io.StringIO()
    progress = Progress(brief=True, stream=stream, every_seconds=0)
    progress.note("step 8/500  validation_loss 2")
    progress.say("resuming")
    update(progress, 9)
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == ["resuming", "step"]


def test_a_rate_that_is_not_known_yet_gives_no_time_left():
    stream = io.StringIO()
    update(Progress(stream=stream, every_seconds=0), 1, rate=0.0)
    assert stream.getvalue() == "step 1/500  loss 1.235  0.0 steps/s  ? left\n"
