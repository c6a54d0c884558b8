"""report.tex: what LaTeX would stumble over is escaped, and the tables are those of the other reports."""

import re

import pytest

from attention_jax.study.comparison.plan import Plan
from attention_jax.study.report.latex import escaped, report_latex
from attention_jax.study.report.summary import summaries


@pytest.mark.parametrize(
    ("text", "set_as"),
    [
        ("sliding_window", r"sliding\_window"),
        ("50% & more", r"50\% \& more"),
        ("a#b$c{d}", r"a\#b\$c\{d\}"),
        ("~^\\", r"\textasciitilde{}\textasciicircum{}\textbackslash{}"),
        ('<0.001 | "x"', r"\textless{}0.001 \textbar{} \textquotedbl{}x\textquotedbl{}"),
        ("0.5 ± 0.1", r"0.5 $\pm$ 0.1"),
        ("two\nlines\t here", "two lines here"),
    ],
)
def test_special_characters_are_escaped(text, set_as):
    assert escaped(text) == set_as


def test_a_table_of_scores_and_one_of_costs_for_each_benchmark(plan, mixed):
    text = report_latex(plan, summaries(plan, mixed[0]), command="python launch.py compare\n--config=x.py")
    lines = text.splitlines()
    assert lines[1] == "% python launch.py compare --config=x.py"
    for word in (r"\begin{table}", r"\end{table}", r"\toprule", r"\midrule", r"\bottomrule"):
        assert lines.count(word) == 4
    assert r"\caption{listops: test\_accuracy, higher is better, against scaled\_dot.}" in lines
    assert any(line.startswith(r"\texttt{performer:features=64} & ") for line in lines)
    [row] = [line for line in lines if line.startswith(r"\texttt{linear}") and "worse" in line]
    assert row == r"\texttt{linear} & 0.7000 $\pm$ 0.0248 & 3/3 & $-0.1000$ & \textless{}0.001 & b & worse \\"


def test_every_row_has_as_many_cells_as_its_head(plan, mixed):
    text = report_latex(plan, summaries(plan, mixed[0]), command="c")
    for tabular in re.findall(r"\\begin\{tabular\}\{(l\w*)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in tabular[1].splitlines() if line.endswith(r"\\")]
        assert len(rows) > 1
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(tabular[0])}


def test_a_hostile_name_ends_nothing(result):
    hostile = "x} \\input{/etc/passwd} % & _"
    plan = Plan(benchmarks=("a",), variants=(hostile,), seeds=(0,))
    text = report_latex(plan, summaries(plan, [result(hostile, 0, 0.5, benchmark="a")]), command=hostile)
    body = text.split("\n", 2)[2]
    assert r"\input" not in body
    assert r"\texttt{x\} \textbackslash{}input\{/etc/passwd\} \% \& \_}" in body
