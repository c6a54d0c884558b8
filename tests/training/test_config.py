"""Config files: every default is spelled out, every key can be set, and nothing is replaced in silence."""

from pathlib import Path

import pytest

from attention_jax.kernels import Refused
from attention_jax.training import Experiment, config
from tests.training import tiny
from tests.training.config_files import comparison, minimal

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_loads_and_completing_it_again_changes_nothing(path):
    loaded = config.load(str(path))
    again = config.complete(loaded, owner=str(path))
    assert config.plain(again) == config.plain(loaded)
    assert config.show(again) == config.show(loaded)
    assert loaded.is_locked
    # A config's docstring says how it is run.
    assert f"--config={path.relative_to(ROOT)}" in path.read_text()


def test_there_are_experiments_to_load():
    assert len(EXPERIMENTS) >= 3


def test_every_default_is_a_key(written):
    loaded = config.plain(config.load(written(minimal())))
    assert loaded.keys() == tiny.SECTIONS.keys() | {
        "accumulation", "attention_parallel", "ema_decay", "epochs", "examples", "instability", "mesh", "param_dtype",
        "parameter_rules", "seed", "init",
    }  # fmt: skip
    assert loaded["model"].keys() >= {"attention", "dtype", "norm_epsilon", "init_stddev", "approximate_causal"}
    assert loaded["model"]["attention"] == "scaled_dot"
    assert loaded["model"]["width"] == 16
    # What the data set knows of itself is no key.
    assert not loaded["model"].keys() & {"vocabulary_size", "length", "parent"}
    assert loaded["data"].keys() >= {"vocabulary_size", "power", "train_examples", "seed"}
    assert loaded["task"] == {"name": "token_prediction", "metric": "loss", "label_smoothing": 0.0, "slices": ()}
    assert loaded["optimizer"] == {
        "name": "adamw", "learning_rate": 1e-3, "clip_norm": 1.0, "weight_decay": 0.01, "b1": 0.9, "b2": 0.999,
        "eps": 1e-8, "schedule": {"name": "warmup_cosine", "warmup_steps": 0, "final_fraction": 0.0},
        "clip_value": None, "rates": (), "layer_decay": 1.0, "freeze": (),
    }  # fmt: skip
    assert loaded["evaluation"] == {"every": 0, "batch_size": None, "patience": 0, "target": None, "collect": False}
    assert loaded["checkpoint"] == {"every": 0, "keep": 2, "best": False}
    assert loaded["log"] == {"every": 10, "tensorboard": True, "wandb": False, "layer_norms": False}
    assert loaded["mesh"] == {"data": -1, "fsdp": 1, "tensor": 1, "sequence": 1}
    assert loaded["instability"] == {"action": "stop", "spike": None, "most_skipped": 100}
    assert loaded["model"].keys() >= {"remat", "scan_layers"}
    assert (loaded["accumulation"], loaded["seed"], loaded["epochs"]) == (1, 0, None)
    assert (loaded["param_dtype"], loaded["ema_decay"], loaded["attention_parallel"]) == ("float32", None, "ring")
    assert loaded["parameter_rules"] == ()


def test_what_is_loaded_builds_the_experiment_that_was_meant(written):
    loaded = config.load(written(tiny.sections()), {"model.attention": "linear", "batch_size": "4"})
    experiment = Experiment(**config.plain(loaded))
    assert (experiment.model.stack.attention, experiment.model.stack.init_stddev) == ("linear", 0.3)
    assert (experiment.batch_size, experiment.steps, experiment.log.every) == (4, 24, 2)


def test_show_has_a_line_for_every_key_and_each_can_be_set(written):
    path = written(minimal())
    shown = dict(line.split(" = ", 1) for line in config.show(config.load(path)).splitlines())
    assert shown["model.width"] == "16"
    assert shown["optimizer.schedule.name"] == "'warmup_cosine'"
    assert shown["model.hidden"] == "None"
    same = {key: text.strip("'") for key, text in shown.items()}
    assert config.show(config.load(path, same)) == config.show(config.load(path))


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("model.width", "32", 32),
        ("optimizer.learning_rate", "1", 1.0),
        ("optimizer.learning_rate", "3e-4", 3e-4),
        ("optimizer.clip_norm", "none", None),
        ("optimizer.clip_norm", "2", 2.0),
        ("epochs", "2", 2.0),
        ("epochs", "0.5", 0.5),
        ("steps", "None", None),
        ("examples", "100", 100),
        ("model.hidden", "64", 64),
        ("model.engine", "dense", "dense"),
        ("evaluation.batch_size", "4", 4),
        ("model.use_bias", "true", True),
        ("model.use_bias", "0", False),
        ("log.tensorboard", "False", False),
        ("model.attention", "sliding_window:window=8", "sliding_window:window=8"),
        ("data.power", "1", 1.0),
        ("mesh.data", "-1", -1),
        ("mesh.sequence", "2", 2),
        ("ema_decay", "0.999", 0.999),
        ("param_dtype", "bfloat16", "bfloat16"),
        ("attention_parallel", "all_to_all", "all_to_all"),
        ("model.remat", "full", "full"),
        ("model.scan_layers", "true", True),
        ("instability.action", "skip", "skip"),
        ("instability.spike", "5", 5.0),
        ("instability.most_skipped", "7", 7),
        ("log.layer_norms", "true", True),
        ("parameter_rules", "(('token/.*', ('fsdp',)),)", (("token/.*", ("fsdp",)),)),
        ("optimizer.freeze", "token/.*", ("token/.*",)),
    ],
)
def test_keys_are_set_in_their_own_type(written, key, text, value):
    found = config.load(written(minimal()), {key: text})
    for part in key.split("."):
        found = found[part]
    assert found == value
    assert type(found) is type(value)


def test_whole_numbers_in_a_file_stay_open_to_fractions(written):
    path = written(minimal(steps=..., epochs=6, optimizer={"learning_rate": 1}))
    loaded = config.load(path, {"epochs": "0.5", "optimizer.learning_rate": "0.1"})
    assert (loaded.epochs, loaded.optimizer.learning_rate) == (0.5, 0.1)


def test_none_in_a_file_is_kept_where_it_means_something(written):
    loaded = config.load(written(minimal(optimizer={"clip_norm": None}, steps=None, epochs=1.0)))
    assert loaded.optimizer.clip_norm is None
    assert loaded.steps is None


def test_a_name_is_set_before_the_defaults_that_belong_to_it(written):
    names = {"optimizer.name": "sgd", "optimizer.schedule.name": "rsqrt", "data.name": "digits"}
    names |= {"task.name": "classification", "model.name": "encoder_classifier"}
    path = written(minimal(data={"name": "mqar"}))
    loaded = config.load(path, {**names, "optimizer.momentum": "0.9", "task.label_smoothing": "0.1"})
    assert loaded.optimizer.to_dict() == {
        "name": "sgd", "momentum": 0.9, "nesterov": False, "learning_rate": 1e-3, "clip_norm": 1.0,
        "schedule": {"name": "rsqrt", "warmup_steps": 1}, "weight_decay": 0.0, "clip_value": None, "rates": (),
        "layer_decay": 1.0, "freeze": (),
    }  # fmt: skip
    assert "test_fraction" in loaded.data
    assert "pairs" not in loaded.data
    assert loaded.model.width == 16
    assert "approximate_causal" not in loaded.model


def test_the_argument_is_handed_on(tmp_path):
    path = tmp_path / "exp.py"
    path.write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config(width):\n"
        f"    return ConfigDict({minimal()!r} | {{'model': {{'name': 'gpt', 'width': int(width)}}}})\n"
    )
    assert config.load(f"{path}:24").model.width == 24
    assert config.load(f"{path}:24", {"model.width": "8"}).model.width == 8
    for spec in (str(path), f"{path}:"):
        with pytest.raises(Refused, match=r"needs an argument, its 'width': give .*exp\.py:ARGUMENT"):
            config.load(spec)


def test_a_comparison_has_its_benchmarks_completed(written):
    loaded = config.load(written(comparison()), {"seeds": "(0, 1, 2)", "benchmarks.recall.model.width": "8"})
    assert config.is_comparison(loaded)
    assert not config.is_comparison(config.load(written(minimal())))
    assert loaded.variants == ("scaled_dot", "linear")
    assert loaded.seeds == (0, 1, 2)
    expected = config.plain(config.load(written(minimal(model={"name": "gpt", "width": 8}))))
    assert config.plain(loaded.benchmarks.recall) == expected


def test_a_single_value_for_a_list_is_a_list_of_one(written):
    assert config.load(written(comparison()), {"seeds": "3"}).seeds == (3,)
    assert config.load(written(comparison()), {"variants": "linear"}).variants == ("linear",)


def test_the_names_in_a_comparison_can_be_set_too(written):
    loaded = config.load(written(comparison()), {"benchmarks.recall.optimizer.name": "lion"})
    assert loaded.benchmarks.recall.optimizer.b2 == 0.99


def test_a_config_that_its_file_has_locked_can_be_set(tmp_path):
    (tmp_path / "exp.py").write_text(
        f"from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict({minimal()!r}).lock()\n"
    )
    overrides = {"model.width": "8", "optimizer.name": "sgd", "evaluation.every": "5"}
    loaded = config.load(str(tmp_path / "exp.py"), overrides)
    assert (loaded.model.width, loaded.optimizer.name, loaded.evaluation.every) == (8, "sgd", 5)


def test_a_key_that_takes_a_number_or_a_tuple_can_be_set_to_either(tmp_path):
    file = tmp_path / "rows.py"
    file.write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config():\n"
        "    return ConfigDict({'data': {'name': 'digits', 'form': 'image'}, 'task': {'name': 'classification'},\n"
        "        'model': {'name': 'vit'}, 'optimizer': {'learning_rate': 1e-3}, 'batch_size': 8, 'steps': 1})\n"
    )
    assert config.load(str(file), {"model.patch": "(1,8)"}).model.patch == (1, 8)
    assert config.load(str(file), {"model.patch": "2"}).model.patch == 2
    with pytest.raises(Refused, match=r"model\.width=\(1, 8\): it takes int"):
        config.load(str(file), {"model.width": "(1,8)"})
