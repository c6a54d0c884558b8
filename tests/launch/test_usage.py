"""Help, usage errors, `list` and `show`: what answers without training."""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from attention_jax import cli, data, models, tasks
from attention_jax.base.options import option_parameters
from attention_jax.cli import commands
from attention_jax.cli.commands import COMMANDS
from attention_jax.kernels import names
from attention_jax.layers.kinds import KINDS
from attention_jax.training.experiment import Experiment
from attention_jax.training.optimizer import adamw, build_optimizer, own_options
from attention_jax.training.schedule import warmup_cosine
from attention_jax.training.sections import SECTIONS
from tests.launch.command_line import RECALL, ROOT, Answer, launch, write_config
from tests.launch.test_refusals import answers, assert_refused


def takes_less_than(limit: float, *words: str) -> bool:
    """Whether one of at most three processes needs less CPU time, in seconds: a busy machine may slow the others."""

    def seconds() -> float:
        process = subprocess.Popen(
            [sys.executable, "launch.py", *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0  # it is waited for
        return usage.ru_utime + usage.ru_stime

    return any(seconds() < limit for _ in range(3))


USAGE_ERRORS = {
    (): "error: the following arguments are required: COMMAND. See launch.py --help.",
    ("trian", "--config=experiments/demo.py"): (
        "error: there is no command 'trian'. Did you mean 'train'? See launch.py --help."
    ),
    ("train",): "error: one of the arguments --config --data is required. See launch.py train --help.",
    ("train", "--config=experiments/demo.py", "--wokdir=W"): (
        "error: unrecognized arguments: --wokdir=W. See launch.py --help."
    ),
    ("show", "--config.seed=4"): "error: --config.seed is set, but there is no --config=FILE.py. See launch.py --help.",
    ("train", "--config=experiments/demo.py", "--data=own.csv"): (
        "error: argument --data: not allowed with argument --config. See launch.py train --help."
    ),
    ("shard",): "error: one of the arguments --config --data is required. See launch.py shard --help.",
    ("shard", "--config=experiments/demo.py", "--devices=two"): (
        "error: argument --devices: invalid int value: 'two'. See launch.py shard --help."
    ),
    ("list", "everything"): (
        "error: list knows no kind 'everything'. There is: data, experiments, mixers, models, pairs, pooling, "
        "positions, slicings, tasks, variants."
    ),
}


@pytest.mark.parametrize("words", USAGE_ERRORS, ids=" ".join)
def test_a_usage_error_is_one_line_and_code_2(words: tuple[str, ...]) -> None:
    answer = launch(*words)
    assert (answer.code, answer.out, answer.err) == (2, "", USAGE_ERRORS[words] + "\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    answer = launch(command, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"usage: launch.py {command}")
    if command in ("train", "eval", "compare", "shard"):
        assert "--config.a.b=VALUE" in answer.out
    parser = argparse.ArgumentParser(add_help=False)
    commands.load(command).add_arguments(parser)
    shown = [word for action in parser._actions for word in action.option_strings or [str(action.metavar)]]
    assert all(re.search(rf"^  {re.escape(word)}\b", answer.out, re.MULTILINE) for word in shown)


def test_every_file_with_a_run_is_a_command() -> None:
    files = {path.stem for path in Path(cli.__path__[0]).glob("*.py") if "\ndef run(" in path.read_text()}
    assert files == set(COMMANDS.values())
    assert len(COMMANDS) == len(files)


def test_help_names_every_command_and_every_exit_code() -> None:
    answer = launch("--help")
    assert (answer.code, answer.err) == (0, "")
    for command in COMMANDS:
        assert re.search(rf"^    {command} ", answer.out, re.MULTILINE)
    for meaning in ("0 done", "1 the run failed", "2 the input was wrong", "130 Ctrl-C", "143 SIGTERM"):
        assert meaning in answer.out


@pytest.mark.parametrize("words", [("--help",), ("train", "--help"), ("trian",)], ids=" ".join)
def test_help_and_usage_errors_answer_at_once(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-X", "importtime", "launch.py", *words]
    imported = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stderr
    assert "argparse" in imported
    assert not re.search(r"\| +(jax|numpy)\b", imported)
    ours = re.findall(r"\| +(attention_jax\S*)$", imported, re.MULTILINE)
    assert {".".join(name.split(".")[:2]) for name in ours} == {
        "attention_jax",
        "attention_jax.cli",
        "attention_jax.base",
    }
    assert takes_less_than(0.5, *words)


@pytest.fixture(scope="module")
def listed() -> dict[str, list[dict[str, Any]]]:
    """What `list` gives a program."""
    answer = launch("list", "--format=json")
    assert (answer.code, answer.err) == (0, "")
    return json.loads(answer.out)


def test_list_gives_a_program_all_that_is_claimed_of_each_variant(listed: dict[str, list[dict[str, Any]]]) -> None:
    assert {*(kind.name for kind in KINDS), "model", "task", "slicing", "data set", "experiment"} == listed.keys()
    variants = {one["name"]: one for one in listed["attention variant"]}
    assert list(variants) == names()
    performer = variants["performer"]
    assert (performer["family"], performer["year"], performer["arxiv"]) == ("linear", 2020, "2009.14794")
    assert (performer["causal"], performer["memory"], performer["state"]) == ("strict", "linear", True)
    assert (performer["time"], performer["decodes"], performer["weights"]) == ("linear", "state", False)
    assert performer["engines"] == ["recurrence", "dense"]
    assert variants["sliding_window"]["engines"][0] == "gather"
    assert variants["scaled_dot"]["decodes"] == "cache"
    assert variants["monotonic"]["decodes"] == "steps"
    assert performer["options"] == {"features": None}
    assert variants["kimi_delta"]["per_token"] == {"gate": "[B, S, K, J]", "beta": "[B, S, K]"}


def test_list_gives_a_program_the_source_and_the_options_of_what_is_no_variant(
    listed: dict[str, list[dict[str, Any]]],
) -> None:
    (pooling,) = [one for one in listed["pooling"] if one["name"] == "self_attentive"]
    assert (pooling["year"], pooling["arxiv"], pooling["convex"]) == (2017, "1703.03130", True)
    assert pooling["options"] == {"hops": 4, "hidden": None}
    positions = {one["name"]: one for one in listed["position encoding"]}
    assert (positions["shaw"]["year"], positions["shaw"]["is_in"]) == (2018, ["logits", "values"])
    assert (positions["complex_order"]["is_in"], positions["learned"]["is_in"]) == (["logits", "tokens"], ["tokens"])
    assert positions["alibi"]["limits"] == [{"spec": "alibi", "equals": "scaled_dot", "tolerance": 1e-6}]
    pairs = {one["name"]: one for one in listed["pair"]}
    assert pairs["abcnn_2"]["options"] == {"window": 4}
    assert (bool(pairs["decomposable"]["swapped"]), pairs["bidaf"]["swapped"]) == (True, None)


def test_list_takes_one_kind() -> None:
    answer, of_positions = answers([["list", "pooling"], ["list", "positions", "--format=json"]], environment={})
    assert (answer.code, answer.err) == (0, "")
    assert "self_attentive" in answer.out
    assert "scaled_dot" not in answer.out
    assert list(json.loads(of_positions.out)) == ["position encoding"]


def test_other_names_of_papers_are_known() -> None:
    of_pairs = [["show", name] for name in ("rotary", "rope", "bahdanau:hidden=3", "additive:hidden=3")]
    compared = ["compare", "--config=experiments/demo.py", "--variants=bahdanau"]
    rotary, rope, bahdanau, additive, refused = answers([*of_pairs, compared], environment={})
    assert rotary.out == rope.out
    assert "also called rotary, roformer" in rotary.out
    assert bahdanau.out == additive.out
    assert (refused.code, refused.out) == (2, "")
    assert "attention variant 'bahdanau' is called 'additive' here: give that name." in refused.err


def test_another_name_is_of_one_thing_and_no_name_of_another() -> None:
    taken = [name for kind in KINDS for name in kind.catalogue.names()]
    others = [alias for kind in KINDS for alias in kind.catalogue.aliases()]
    assert len({*taken, *others}) == len(taken) + len(others)


def test_show_gives_the_entry_of_a_paper_for_a_bibliography() -> None:
    shown = ("linear", "bahdanau:hidden=8", "additive", "uniform", "--config=experiments/demo.py")
    given = answers([["show", what, "--format=bibtex"] for what in shown], environment={})
    answer, by_another_name, additive, refused, config = given
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("@misc{katharopoulos2020transformers,\n  title = {{Transformers are RNNs: ")
    assert (by_another_name.code, by_another_name.out) == (0, additive.out)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: --format=bibtex: uniform is of no paper (A control of this library, ")
    assert config.err == "error: --format=bibtex: a config is of no paper: give the name of an attention variant.\n"


def test_list_shows_everything_there_is_in_three_seconds() -> None:
    answer = launch("list")
    assert (answer.code, answer.err) == (0, "")
    experiments = [str(path.relative_to(ROOT)) for path in (ROOT / "experiments").rglob("*.py")]
    builders = (models.models, tasks.tasks, tasks.slicings)
    kinds = (
        *(kind.catalogue.names() for kind in KINDS),
        *(catalogue.names() for catalogue in builders),
        data.names(),
        experiments,
    )
    for name in [name for kind in kinds for name in kind]:
        assert re.search(rf"^{re.escape(name)} +\S", answer.out, re.MULTILINE), name
    assert takes_less_than(3, "list")


SHOWN = [
    "performer:features=256",
    "tests/launch/my_attention.py:my_attention:temperature=0.5",
    "gated_pooling:hidden=3",
    "bidaf",
    "complex_order",
    "gpt",
    "token_prediction",
    "digits",
]


@pytest.fixture(scope="module")
def shown() -> dict[str, Answer]:
    """What `show` answers of each name, all in one process."""
    return dict(zip(SHOWN, answers([["show", name] for name in SHOWN], environment={}), strict=True))


def test_show_tells_all_of_a_variant_with_its_options(shown: dict[str, Answer]) -> None:
    answer = shown["performer:features=256"]
    assert (answer.code, answer.err) == (0, "")
    for line in (
        "attention variant performer:features=256",
        "  features = 256  (default None)",
        "  causal: strict",
        "  memory: linear",
    ):
        assert line in answer.out.splitlines()
    assert "arXiv 2009.14794" in answer.out


def test_show_tells_all_of_a_pooling_and_of_a_pair(shown: dict[str, Answer]) -> None:
    pooling, pair = (shown[name].out.splitlines() for name in ("gated_pooling:hidden=3", "bidaf"))
    assert pooling[0] == "pooling gated_pooling:hidden=3"
    for line in ("  hidden = 3  (default None)", "  gate [3, D]", "  convex: True"):
        assert line in pooling
    assert pair[0] == "pair bidaf"
    assert "  product [D]" in pair


def test_show_tells_all_of_a_position_encoding(shown: dict[str, Answer]) -> None:
    lines = shown["complex_order"].out.splitlines()
    assert lines[0] == "position encoding complex_order"
    for line in ("  position_rates [half_width]", "is in: logits, tokens", "  relative: True"):
        assert line in lines
    assert "  limit: complex_order equals scaled_dot within 1e-06" in lines


def test_show_tells_all_of_a_variant_in_a_file_of_the_users(shown: dict[str, Answer]) -> None:
    answer = shown["tests/launch/my_attention.py:my_attention:temperature=0.5"]
    assert (answer.code, answer.err) == (0, "")
    assert "Scaled dot-product attention with a learned temperature for each head." in answer.out
    assert "  temperature = 0.5  (default 1.0)" in answer.out.splitlines()


@pytest.mark.parametrize(
    ("name", "first", "option"),
    [
        ("gpt", "model gpt", "  num_layers = 4"),
        ("token_prediction", "task token_prediction", "  metric = 'loss'"),
        ("digits", "data set digits", "  validation_fraction = 0.2"),
    ],
)
def test_show_tells_all_of_a_model_a_task_and_a_data_set(
    shown: dict[str, Answer], name: str, first: str, option: str
) -> None:
    answer = shown[name]
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == first
    assert option in lines


def test_show_of_what_there_is_not_names_the_nearest() -> None:
    cases = [
        ((), "show takes a name, --config=FILE.py or --data=PATH: `launch.py list` prints the names."),
        (("preformer",), "there is nothing called 'preformer'. Did you mean 'performer'?"),
        (("performer:feature=8",), "variant 'performer' has no option 'feature' (given 8). Did you mean 'features'?"),
        (("token_predction",), "there is nothing called 'token_predction'. Did you mean 'token_prediction'?"),
        (("--config=experiments/dem.py",), "Did you mean 'experiments/demo.py'?"),
        (("experiments/demo.py",), "'experiments/demo.py' is a file: give --config=experiments/demo.py"),
    ]
    given = answers([["show", *words] for words, _ in cases], environment={})
    for answer, (words, said) in zip(given, cases, strict=True):
        assert_refused(answer, (said,), about=(words, answer))


def every_key() -> set[str]:
    """Every key of a config with mqar, token_prediction, gpt and adamw, read off the signatures."""
    keys = {f"{section}.name" for section in ("data", "model", "task", "optimizer", "optimizer.schedule")}
    keys |= {f"optimizer.{key}" for key in own_options(build_optimizer) if key != "options"}
    keys |= option_parameters(Experiment).keys() - SECTIONS.keys() - {"data", "model", "task", "optimizer"}
    sections = {
        "data": option_parameters(data.dataset.data_sets.lookup("mqar")),
        "task": option_parameters(tasks.tasks.lookup("token_prediction")),
        "model": models.parameters_of(models.models.lookup("gpt")),
        "optimizer": own_options(adamw),
        "optimizer.schedule": own_options(warmup_cosine),
        **{name: option_parameters(fields) for name, fields in SECTIONS.items()},
    }
    keys |= {f"{section}.{key}" for section, options in sections.items() for key in options}
    return keys - {"model.vocabulary_size", "model.length"}  # facts of the data


def test_show_config_prints_every_key_sorted_as_it_is_set(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", RECALL)
    attention = "performer:features=64"
    answer = launch("show", config, f"--config.model.attention={attention}", "--config.optimizer.learning_rate", "2e-3")
    assert (answer.code, answer.err) == (0, "")
    shown = dict(line.split(" = ", 1) for line in answer.out.splitlines())
    assert set(shown) == every_key()
    assert list(shown) == sorted(shown, key=lambda key: key.split("."))
    assert shown["model.attention"] == repr(attention)
    assert shown["optimizer.learning_rate"] == "0.002"
    assert shown["batch_size"] == "16"


def test_show_config_prints_every_key_of_a_comparison() -> None:
    answer = launch("show", "--config=experiments/demo.py", "--config.benchmarks.recall.steps=3")
    assert (answer.code, answer.err) == (0, "")
    assert "benchmarks.recall.steps = 3" in answer.out.splitlines()
    assert "benchmarks.digits.model.num_kv_heads = None" in answer.out.splitlines()
