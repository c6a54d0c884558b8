"""`launch.py check`: the verdict on a mechanism that holds the contract, on one that leaks, and on wrong files."""

import itertools
import re
import textwrap
from collections.abc import Collection
from pathlib import Path

import pytest

from attention_jax.cli import checking
from attention_jax.cli.checking import check
from attention_jax.kernels import Refused
from tests.launch.command_line import Answer, launch
from tests.launch.test_refusals import answers, assert_refused

RIGHT = "tests/launch/my_attention.py:my_attention"
HEADER = """
from attention_jax.kernels import Claims, SoftmaxScore, Source, register

@register(source=Source("this test", "none"), claims=Claims())
"""
LEAKS = (
    HEADER
    + '''
def leaks() -> SoftmaxScore:
    """Takes the mean of all keys out of each, those to come among them."""
    return SoftmaxScore(prepare_key=lambda key, given: key - key.mean(1, keepdims=True) ** 2)
'''
)


def checked(spec: str, *words: str) -> Answer:
    """Runs the command; it compiles nothing twice, and keeping thousands of small programs takes long."""
    return launch("check", spec, *words, environment={"JAX_ENABLE_COMPILATION_CACHE": "false"})


def verdicts(out: str) -> dict[str, str]:
    """The lines of a verdict: the words of each to "ok", "FAILED" or "-"."""
    lines = re.findall(r"^  (ok|FAILED|-) +([^:(\n]+?)(?: \(\d+ cases\))?(?:: .*)?$", out, re.MULTILINE)
    return {words: verdict for verdict, words in lines}


@pytest.mark.long
def test_a_right_mechanism_holds_what_it_claims_and_the_rest_is_said_not_to_apply() -> None:
    answer = checked(RIGHT, "--only=causality,state,derivatives")
    assert answer.code == 0, answer.out + answer.err
    found = verdicts(answer.out)
    assert found["derivatives of the past with respect to the future are exactly zero"] == "ok"
    assert found["derivatives of both orders and modes equal finite differences"] == "ok"
    assert found["any split equals one pass"] == "-"
    assert "  -       any split equals one pass: not claimed" in answer.out.splitlines()
    assert re.search(r"asks for positions when lengths differ: about the library, not about one variant", answer.out)
    last = answer.out.splitlines()[-1]
    count = {verdict: list(found.values()).count(verdict) for verdict in ("ok", "-")}
    assert last == f"{RIGHT}: {count['ok']} of {count['ok']} lines hold, {count['-']} do not apply."


def test_a_mechanism_that_leaks_the_future_fails_in_the_lines_that_say_so(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LEAKS)
    spec = f"{tmp_path / 'mine.py'}:leaks"
    answer = checked(spec, "--only=causality")
    assert answer.code == 1, answer.err
    found = verdicts(answer.out)
    assert found["derivatives of the past with respect to the future are exactly zero"] == "FAILED"
    assert found["changing the future does not change a bit of the past"] == "FAILED"
    said = told(answer.out, "changing the future does not change a bit of the past")
    assert said.keys() == {"tried", "came out", "should have"}
    assert said["tried"].startswith("engine ")
    assert re.fullmatch(r"\d+ of 160 numbers differ, by up to \S+", said["came out"])
    assert said["should have"] == "the same numbers, bit for bit"
    assert told(answer.out, "derivatives of the past")["came out"] == "not so: a key that is not seen does not count"
    assert re.search(r"\d of \d lines hold, 1 do not apply\.$", answer.out, re.MULTILINE)
    assert answer.out.splitlines()[-1] == (
        f"more of a failure: ATTENTION_JAX_VARIANTS={spec} python -m pytest --pyargs attention_jax.contract"
    )
    assert "Traceback" not in answer.err


@pytest.fixture
def few(tmp_path: Path) -> str:
    """The spec of an attention that does what it is for at more tokens than the contract has."""
    (tmp_path / "mine.py").write_text(HEADER.replace("Claims()", "Claims(tried='few:keys=2')") + FEW)
    return f"{tmp_path / 'mine.py'}:few"


def test_a_name_alone_is_tried_with_options_that_make_it_do_at_few_tokens_what_it_is_for(few: str) -> None:
    tried = checked(few, "--only=steps")
    assert tried.code == 0, tried.out
    first = f"{few} is tried as {few}:keys=2: with these options it does at a few tokens what it is for."
    assert tried.out.splitlines()[0] == first
    assert tried.out.splitlines()[-1].startswith(f"{few}:keys=2: ")


@pytest.mark.long
def test_a_name_with_options_is_tried_with_them(few: str) -> None:
    plain = checked(f"{few}:keys=64", "--only=steps")
    assert plain.code == 0, plain.out
    assert "is tried as" not in plain.out


FEW = """
def few(*, keys: int = 64) -> SoftmaxScore:
    'The nearest keys alone.'
    from attention_jax.kernels import Window
    return SoftmaxScore(scale=None, mask=Window(keys))
"""
LIES = """
from attention_jax.kernels import PER_HEAD, Claims, SoftmaxScore, Source, register

@register(source=Source("this test", "none"), claims=Claims(memory="quadratic"))
def lies() -> SoftmaxScore:
    'Declares a gate that it reads nowhere, and needs less memory than it says.'
    return SoftmaxScore(scale=None, per_token={"gate": PER_HEAD})
"""


def told(out: str, words: str) -> dict[str, str]:
    """What is said of a line that failed."""
    lines = out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"  FAILED  {words}"))
    found = (re.fullmatch(r" {12}(\S[^:]*): +(.*)", line) for line in lines[start + 1 : start + 6])
    return dict(one.groups() for one in itertools.takewhile(bool, found) if one)


def test_a_claim_that_is_false_and_an_array_that_nothing_reads_are_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LIES)
    answer = checked(f"{tmp_path / 'mine.py'}:lies", "--only=claims")
    assert answer.code == 1, answer.err
    memory = told(answer.out, "memory grows with the number of tokens as claimed")
    assert memory["came out"].startswith("at_4096 is ")
    assert memory["should have"].startswith("more than (9 * ")
    assert memory["that is"] == "it claims quadratic memory and needs less"
    assert told(answer.out, "every array that is declared is read")["came out"] == (
        "gate: declared and read by nothing: take it out, or read given.params or given.per_token"
    )
    assert list(verdicts(answer.out).values()).count("FAILED") == 2
    assert not re.search(r"Traceback|assert |^E ", answer.out, re.MULTILINE)


OWN_POOLING = """
import jax.numpy as jnp
from attention_jax.kernels import Pooled, Pooling, PoolingClaims, Source, register_pooling

@register_pooling(source=Source("this test", "none"), claims=PoolingClaims(convex=False))
def {name}() -> Pooling:
    "The {name} of each channel."
    def pool(hidden, given):
        return Pooled(jnp.where(given.visible[..., None], hidden, 0).{body})
    return Pooling(pool=pool)
"""


@pytest.mark.long
def test_a_right_pooling_holds_the_contract_of_poolings(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN_POOLING.format(name="total", body="sum(1)"))
    answer = checked(f"{tmp_path / 'mine.py'}:total", "--only=masks,sums")
    assert answer.code == 0, answer.out + answer.err
    assert verdicts(answer.out)["the order of the tokens does not matter"] == "ok"


def test_a_pooling_is_held_to_the_contract_of_poolings(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN_POOLING.format(name="latest", body="at[:, -1].get()"))
    spec = f"{tmp_path / 'mine.py'}:latest"
    answer = checked(spec, "--only=masks,sums")
    found = verdicts(answer.out)
    assert found["what is not real is not felt whatever it holds"] == "ok"
    assert found["the order of the tokens does not matter"] == "FAILED"
    assert answer.code == 1, answer.out + answer.err
    assert answer.out.splitlines()[-1] == (
        f"more of a failure: ATTENTION_JAX_VARIANTS={spec} python -m pytest --pyargs attention_jax.contract.pooling"
    )


WRONG = {
    "broken.py": ("def broken(:", "is not valid Python"),
    "raises.py": ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
    "leaves.py": ("import sys; sys.exit(3)", "it ended Python with code 3"),
    "imports.py": ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
    "empty.py": ("", "registers no attention 'mine'; it registers: none"),
    "builds.py": (HEADER + "def mine(*, size: int):\n    return SoftmaxScore()", "'size'"),
    "a+b.py": (HEADER + "def mine():\n    return SoftmaxScore()", "its path may hold no signs but"),
}


# Each is read by a process of its own; tests/kernels/test_user_files.py reads the others in one.
READ = ("leaves.py", "builds.py", "a+b.py")


@pytest.mark.parametrize("names", [READ, pytest.param(sorted(WRONG.keys() - READ), marks=pytest.mark.long)], ids=len)
def test_a_file_that_is_wrong_is_refused_in_one_line(tmp_path: Path, names: Collection[str]) -> None:
    for name in names:
        (tmp_path / name).write_text(textwrap.dedent(WRONG[name][0]))
    commands = [["check", f"{tmp_path / name}:mine"] for name in names]
    for name, answer in zip(names, answers(commands, environment={}), strict=True):
        assert_refused(answer, (WRONG[name][1],), about=answer)


def test_what_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    commands = [["check", f"{tmp_path / 'nowhere.py'}:mine"], ["check", "scaled_dott"]]
    commands += [["check", RIGHT, "--only=causalty"]]
    says = ["does not exist", "Did you mean 'scaled_dot'?", "no part 'causalty'. Did you mean 'causality'?"]
    for said, answer in zip(says, answers(commands, environment={}), strict=True):
        assert_refused(answer, (said,), about=answer)


def test_without_pytest_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "NEEDED", ("pytest", "not_there_at_all"))
    with pytest.raises(
        Refused, match=r"check needs not_there_at_all, not installed here: \S+ -m pip install not_there"
    ):
        check(RIGHT, only=None)


def test_what_pytest_cannot_collect_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_made_up.py").write_text('"""Made up."""\nimport not_there_at_all\n')
    with pytest.raises(Refused, match=r"pytest ended with code 2 before the contract: .*not_there_at_all"):
        check("scaled_dot", only=None, contract=tmp_path)
    assert capsys.readouterr().out == ""


MADE_UP = '''
"""Made up."""

import numpy as np
import pytest

from attention_jax.base.errors import Refused


def error(result, reference):
    return abs(result - reference)


def refuse():
    raise Refused("mine does not take a bias. Use variant scaled_dot.")


@pytest.mark.parametrize("kind", ["causal", "window"])
@pytest.mark.parametrize("spec", ["scaled_dot"])
def test_results_agree(spec, kind):
    for engine in ("dense", "rows"):
        assert error(0.5, 0.0) < 1e-6, engine


@pytest.mark.parametrize("spec", ["scaled_dot"])
def test_numbers_stay(spec):
    np.testing.assert_array_equal(np.arange(4.0), [0, 1, 2, 5])


@pytest.mark.parametrize("spec", ["scaled_dot"])
def test_numbers_stay_near(spec):
    np.testing.assert_allclose(np.arange(4.0), [0, 1, 2, 5], rtol=1e-6, err_msg="it is linear")


@pytest.mark.parametrize("spec", ["scaled_dot"])
def test_it_is_refused(spec):
    with pytest.raises(Refused, match="a bias"):
        pass


@pytest.mark.parametrize("spec", ["scaled_dot"])
def test_it_is_refused_in_these_words(spec):
    with pytest.raises(Refused, match="a dropout"):
        refuse()


@pytest.mark.parametrize("spec", ["scaled_dot"])
def test_it_is_taken(spec):
    refuse()


@pytest.mark.parametrize("spec", ["scaled_dot"])
def test_all_is_finite(spec):
    found = np.array([1.0, np.nan])
    assert np.isfinite(found).all(), "a query without a key gives 0"


@pytest.mark.parametrize("spec", ["scaled_dot"])
def test_it_runs(spec):
    raise ValueError("no such thing")


@pytest.mark.parametrize("spec", ["scaled_dot"])
def test_nothing_is_left(spec):
    left = ["gate"]
    assert not left, f"{', '.join(left)}: read by nothing"


@pytest.mark.parametrize("spec", ["scaled_dot"])
def test_memory(spec):
    at_1024, at_4096 = 10, 160
    assert at_4096 <= 4.6 * at_1024
'''
TOLD = """
  FAILED  results agree (2 cases)
            tried:       causal, engine dense
            came out:    a largest difference of 0.5 standard deviations
            should have: less than 1e-06
            also of:     window
  FAILED  numbers stay
            came out:    1 of 4 numbers differ, by up to 2.
            should have: the same numbers, bit for bit
  FAILED  numbers stay near
            came out:    1 of 4 numbers differ, by up to 2.
            should have: the same numbers within rtol=1e-06, atol=0
            that is:     it is linear
  FAILED  it is refused
            came out:    an answer
            should have: a refusal that says 'a bias'
  FAILED  it is refused in these words
            came out:    a refusal that says: mine does not take a bias. Use variant scaled_dot.
            should have: one that says a dropout
  FAILED  it is taken
            came out:    a refusal: mine does not take a bias. Use variant scaled_dot.
            should have: an answer, or a claim that it does not take this
  FAILED  all is finite
            came out:    not so: a query without a key gives 0
            should have: as the line says
  FAILED  it runs
            came out:    ValueError: no such thing (test_made_up.py, line 60)
            should have: no error
  FAILED  nothing is left
            came out:    gate: read by nothing
            should have: as the line says
  FAILED  memory
            tried:       at 1024 10, at 4096 160
            came out:    at_4096 is 160
            should have: at most (4.6 * 10)
"""


def test_a_failure_says_what_was_tried_what_came_out_and_what_should_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test_made_up.py").write_text(MADE_UP)
    assert not check("scaled_dot", only=None, contract=tmp_path)
    assert TOLD in capsys.readouterr().out
