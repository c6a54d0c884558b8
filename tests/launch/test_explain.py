"""`launch.py explain`: the shape as a user types it, the table, and what is refused."""

import re
import subprocess
import sys

import numpy as np
import pytest

from attention_jax.cli import explaining
from attention_jax.cli.explaining import Question, parse_shape, print_explanation
from attention_jax.kernels import Refused
from attention_jax.kernels.engines import ENGINES
from tests.launch.command_line import ROOT
from tests.launch.test_refusals import answers, assert_refused


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("2,16,4,8", (2, 16, 4, 8, 16, 4, 8, 8)),
        ("2, 16, 4, 8, K=2, S=32", (2, 16, 4, 8, 32, 2, 8, 8)),
        ("H=8,N=4,T=16,B=2,Hv=5,J=7", (2, 16, 4, 8, 16, 4, 7, 5)),
    ],
)
def test_a_shape_is_the_query_and_what_differs(text, sizes):
    assert tuple(parse_shape(text).values()) == sizes
    assert list(parse_shape(text)) == ["B", "T", "N", "H", "S", "K", "J", "Hv"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2,16,4", "H is missing"),
        ("2,16,4,8,32", "'32' has no letter"),
        ("2,N=16,4,8", "N is given twice"),
        ("2,16,4,8,B=3", "B is given twice"),
        ("2,16,4,8,X=3", "there is no size 'X'."),
        ("2,16,4,0", "H is '0', not a whole number"),
        ("2,16,four,8", "N is 'four', not a whole number"),
    ],
)
def test_what_is_not_a_shape_is_refused(text, says):
    with pytest.raises(Refused) as refusal:
        parse_shape(text)
    assert says in str(refusal.value)


# The words after `explain`, the engine that is taken, and what else is printed.
TABLES = {
    "scaled_dot --shape=1,1048576,8,64 --mask=causal&window(256)|global(4)": "mask causal&window(256)|global(4), which",
    "linear --shape=2,64,8,16,K=2 --mask=causal&padding(5,6) --dtype=bfloat16": "key [2, 64, 2, 16]",
    "scaled_dot --shape=1,1,8,64,S=4096 --mask=causal --positions=last": "key [1, 4096, 8, 64]",
    "scaled_dot --shape=1,16,2,4 --bias --score_mod --dropout=0.1 --outputs=out,weights": "no mask",
    "linear --shape=1,16,2,4 --outputs=state": "no engine can: attend refuses, with these reasons.",
    "tests/launch/my_attention.py:my_attention --shape=1,16,2,4 --dtype=float64": "float64",
    "scaled_dot --shape=1,65536,2,4 --mask=blocks(64)&causal": "Blocks",
    "scaled_dot --shape=1,16,2,4 --memory": "beside its arrays, forward and backward need ",
}


def test_each_engine_has_a_line_with_its_reason():
    given = answers([["explain", *words.split()] for words in TABLES], environment={})
    for (words, said), answer in zip(TABLES.items(), given, strict=True):
        assert (answer.code, answer.err) == (0, ""), words
        assert said in answer.out, words
        lines = {line.split()[0]: line.split()[1:] for line in answer.out.splitlines() if line.split()[:1]}
        engines = {name: lines[name] for name in ENGINES}
        assert all(len(line) > 2 for line in engines.values()), words
        taken = [name for name, line in engines.items() if line[:2] == ["yes", "yes"]]
        assert len(taken) == ("no engine can" not in said), words
    assert given[1].out.splitlines()[0].startswith("linear on cpu, bfloat16")
    assert "recurrence  yes    yes" in given[1].out


@pytest.mark.parametrize(("words", "first"), [("last", 13), ("first", 0), (None, None)])
def test_the_queries_stand_where_they_are_said_to(words, first, monkeypatch):
    given = []
    monkeypatch.setattr(explaining, "explain", lambda **arguments: given.append(arguments["positions"]) or [])
    question = Question(variant="scaled_dot", shape="1,3,2,4,S=16", positions=words)
    print_explanation(question, with_memory=False)
    if words is None:
        assert given == [None]
    else:
        ((query, key),) = given
        np.testing.assert_array_equal(query, [[first, first + 1, first + 2]])
        np.testing.assert_array_equal(key, np.arange(16)[None])


REFUSED = {
    "scaled_dot --shape=1,16,2,4 --mask=casual": "there is no rule 'casual'",
    "scaled_dott --shape=1,16,2,4": "there is no attention variant 'scaled_dott'. Did you mean 'scaled_dot'?",
    "scaled_dot --shape=1,16,2": "H is missing",
    "scaled_dot --shape=1,16,3,4,K=2": "3 query heads do not divide among 2 key heads",
    "scaled_dot --shape=1,16,2,4 --dtype=float33": "there is no dtype 'float33' here. Did you mean",
    "scaled_dot --shape=1,16,2,4 --outputs=lsee": "there is no output 'lsee'. Did you mean 'lse'?",
    "scaled_dot --shape=1,1,2,4,S=16 --mask=causal": "is ambiguous: give positions",
    "scaled_dot --shape=1,16,2,4 --positions=end": "--positions=end is neither first nor last.",
    "scaled_dot --shape=1,16,2,4 --dropout=1.5": "dropout_rate=1.5 is not in [0, 1)",
    "scaled_dot --shape=1,16,2,4 --mask=window(0)": "Window(0)",
    "scaled_dot --shape=2,16,2,4 --mask=padding(1,2,3)": "Padding has int32 of shape (3,) for 2 sequences",
    "linear --shape=1,16,2,4 --bias": "linear does not take a bias",
}


def test_what_cannot_be_explained_is_refused_in_one_line():
    given = answers([["explain", *words.split()] for words in REFUSED], environment={})
    for (words, said), answer in zip(REFUSED.items(), given, strict=True):
        assert_refused(answer, (said,), about=words)


@pytest.mark.parametrize("command", ["explain", "check", "bench"])
def test_the_help_of_the_commands_on_kernels_answers_without_jax(command):
    script = [sys.executable, "-X", "importtime", "launch.py", command, "--help"]
    answer = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.startswith(f"usage: launch.py {command}")
    assert "argparse" in answer.stderr
    assert not re.search(r"\| +(jax\b|numpy\b|attention_jax\.(?!cli\b|base\b))", answer.stderr, re.MULTILINE)
