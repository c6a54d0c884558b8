"""The statistics judged on the user's machine, by the command."""

import pytest

from tests.launch.command_line import launch


def test_a_short_simulation_prints_a_row_a_kind_and_judges_it() -> None:
    answer = launch("selftest", "statistics", "--studies=40", "--variants=6", "--seeds=3", "--coverage")
    assert answer.code in (0, 1), answer.err
    for kind in ("normal", "ceiling", "solved or not", "unequal spreads"):
        assert kind in answer.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("speed",), "error: there is no selftest 'speed': try selftest statistics.\n"),
        (
            ("statistics", "--seeds=three"),
            "error: --seeds=three: give whole numbers separated by commas, such as 3,5.\n",
        ),
    ],
)
def test_what_it_cannot_do_is_said_in_a_line(words: tuple[str, ...], said: str) -> None:
    answer = launch("selftest", *words)
    assert (answer.code, answer.out, answer.err) == (2, "", said)


@pytest.mark.parametrize("option", ["--studies=0", "--variants=1", "--seeds=2"])
def test_sizes_without_a_test_are_refused(option: str) -> None:
    answer = launch("selftest", "statistics", option)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
