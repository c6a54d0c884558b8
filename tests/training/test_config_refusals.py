"""What a config gets wrong is refused in one line that names the key, the value and the way out."""

import pytest

from attention_jax.kernels import Refused
from attention_jax.training import config
from tests.training.config_files import comparison, minimal


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("model.width", "wide", r"^config\.model\.width=wide: it takes int, such as 16\.$"),
        ("model.width", "1.5", r"^config\.model\.width=1\.5: it takes int"),
        ("model.width", "", r"^config\.model\.width=: it takes int"),
        ("model.width", "none", r"^config\.model\.width=None: it takes int\.$"),
        ("batch_size", "True", r"^config\.batch_size=True: it takes int"),
        ("optimizer.learning_rate", "fast", r"^config\.optimizer\.learning_rate=fast: it takes float, such as 0\.001"),
        ("model.use_bias", "yes", r"^config\.model\.use_bias=yes: it takes bool"),
        ("model.hidden", "1.5", r"^config\.model\.hidden=1\.5: it takes int"),
        ("model.attention", "none", r"^config\.model\.attention=None: it takes str"),
        ("ema_decay", "long", r"^config\.ema_decay=long: it takes float"),
        ("instability.spike", "big", r"^config\.instability\.spike=big: it takes float"),
        ("mesh.fsdp", "none", r"^config\.mesh\.fsdp=None: it takes int"),
        ("mesh", "8", r"^config\.mesh is a section: set one of its keys, such as config\.mesh\.data\.$"),
        ("model", "gpt", r"^config\.model is a section: set one of its keys, such as config\.model\.activation\.$"),
        ("optimizer.schedule", "rsqrt", r"^config\.optimizer\.schedule is a section: set one of its keys, such as con"),
    ],
)
def test_values_of_another_type_are_refused(written, key, text, message):
    with pytest.raises(Refused, match=message):
        config.load(written(minimal()), {key: text})


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("batchsize", "batch_size"),
        ("modle.width", "model.width"),
        ("model.widht", "model.width"),
        ("model.width.x", "model.width"),
        ("model.nmae", "model.name"),
        ("optimizer.schedule.warmup", "optimizer.schedule.warmup_steps"),
        ("evaluation.evry", "evaluation.every"),
        ("mesh.fspd", "mesh.fsdp"),
        ("instability.most_skiped", "instability.most_skipped"),
        ("model.scan_layer", "model.scan_layers"),
        ("modl.name", "model.name"),
    ],
)
def test_a_key_that_is_set_and_does_not_exist_is_refused_with_the_nearest(written, key, nearest):
    path = written(minimal())
    with pytest.raises(Refused) as caught:
        config.load(path, {key: "1"})
    assert str(caught.value) == f"{path} has no key {key!r}. Did you mean {nearest!r}?"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modle": {}}, r"exp\.py has no option 'modle' .*Did you mean 'model'\?$"),
        ({"modle": {"a": 1, "b": 2}}, r"exp\.py has no option 'modle' \(given {'a': 1, 'b': 2}\)\. Did"),
        ({"model": ...}, r"exp\.py needs 'model', which was not given"),
        (
            {"model": {"name": "gpt", "widht": 8}},
            r"^config\.model \(gpt\) has no key 'widht' .*Did you mean 'width'\?$",
        ),
        ({"model": {"name": "gpt", "vocabulary": 8}}, r"^config\.model \(gpt\) has no key 'vocabulary'"),
        ({"model": {"width": 8}}, r"^config\.model has no name: say which model to build"),
        ({"model": {"name": "gtp"}}, r"^there is no model 'gtp'\. Did you mean 'gpt'\?$"),
        ({"data": {}}, r"^config\.data has no name: say which data to build"),
        ({"data": {"name": "mqar", "lenght": 8}}, r"^config\.data \(mqar\) has no key 'lenght' .*'length'\?$"),
        ({"task": {"name": "token_prediction", "label_smothing": 0.1}}, r"^config\.task \(token_prediction\) has no"),
        ({"optimizer": {"learnin_rate": 1.0}}, r"^config\.optimizer has no key 'learnin_rate' .*'learning_rate'\?$"),
        ({"optimizer": {"name": "sgd", "b1": 0.9}}, r"^config\.optimizer has no key 'b1'"),
        ({"optimizer": {"schedule": {"warmup": 5}}}, r"^config\.optimizer\.schedule has no key 'warmup' .*'warmup_st"),
        ({"optimizer": {"schedule": {"name": "cosine"}}}, r"^there is no learning-rate schedule 'cosine'"),
        ({"log": {"evry": 5}}, r"^config\.log has no key 'evry' \(given 5\)\. Did you mean 'every'\?$"),
        ({"model": "gpt"}, r"^config\.model='gpt': it is a section; give a dict of its keys"),
        ({"optimizer": "adamw"}, r"^config\.optimizer='adamw': it is a section"),
        ({"optimizer": {"schedule": "rsqrt"}}, r"^config\.optimizer\.schedule='rsqrt': it is a section"),
        ({"evaluation": 5}, r"^config\.evaluation=5: it is a section"),
        ({"batch_size": "8"}, r"^config\.batch_size='8': it takes int\.$"),
        ({"batch_size": {"a": 1, "b": 2}}, r"^config\.batch_size={'a': 1, 'b': 2}: it takes int\.$"),
        ({"log": {"to": {"a": 1, "b": 2}}}, r"^config\.log has no key 'to' \(given {'a': 1, 'b': 2}\)"),
        ({"batch_size": None}, r"^config\.batch_size=None: it takes int\.$"),
        ({"model": {"name": "gpt", "width": None}}, r"^config\.model\.width=None: it takes int"),
        ({"model": {"name": "gpt", "width": True}}, r"^config\.model\.width=True: it takes int"),
        ({"optimizer": {"learning_rate": "1e-3"}}, r"^config\.optimizer\.learning_rate='1e-3': it takes float"),
        ({"log": {"tensorboard": 1}}, r"^config\.log\.tensorboard=1: it takes bool"),
        ({"mesh": 8}, r"^config\.mesh=8: it is a section"),
        ({"mesh": {"data": 2.0}}, r"^config\.mesh\.data=2\.0: it takes int"),
        ({"instability": {"skip": True}}, r"^config\.instability has no key 'skip' \(given True\)"),
        ({"ema_deacy": 0.9}, r"exp\.py has no option 'ema_deacy' .*Did you mean 'ema_decay'\?$"),
        ({"model": {"name": "gpt", "remat": True}}, r"^config\.model\.remat=True: it takes str"),
    ],
)
def test_what_a_file_gets_wrong_is_refused_by_its_place(written, changes, message):
    with pytest.raises(Refused, match=message) as caught:
        config.load(written(minimal(**changes)))
    assert "\n" not in str(caught.value)


def test_a_key_that_the_file_gives_for_another_name_is_refused(written):
    with pytest.raises(Refused, match=r"^config\.optimizer has no key 'b1' \(given 0\.8\)"):
        config.load(written(minimal(optimizer={"b1": 0.8})), {"optimizer.name": "sgd"})


def test_a_file_that_is_not_there_is_refused_with_the_nearest(written):
    path = written(minimal())
    with pytest.raises(Refused, match=rf"^there is no config file '{path[:-4]}o\.py'\. Did you mean '{path}'\?$"):
        config.load(f"{path[:-4]}o.py")
    with pytest.raises(Refused, match=r"^there is no config file 'no/such/folder\.py'"):
        config.load("no/such/folder.py")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("exp.py", "def get_config(:\n", r"is not valid Python: .*line 1"),
        ("exp.py", "config = {}\n", r"has no function get_config: add one that returns a ConfigDict"),
        ("exp.py", "def get_config():\n    return {}\n", r"get_config returns dict: wrap it in ConfigDict"),
        ("exp.txt", "def get_config(): ...\n", r"is not a Python file: give one that ends in \.py"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(Refused, match=message):
        config.load(str(tmp_path / name))


def test_an_argument_that_nothing_takes_is_refused(written):
    with pytest.raises(Refused, match=r"exp\.py' takes no argument, but 'small' was given after the colon"):
        config.load(f"{written(minimal())}:small")
    assert config.load(written(minimal(), signature="size='x'")).batch_size == 8


@pytest.mark.parametrize(
    ("changes", "overrides", "message"),
    [
        ({"variant": ("linear",)}, {}, r"exp\.py: a comparison has no key 'variant'\. Did you mean 'variants'\?$"),
        ({"steps": 3}, {}, r"a comparison has no key 'steps'"),
        ({"benchmarks": {"recall": minimal(stepps=3)}}, {}, r"benchmark recall has no option 'stepps' .*'steps'\?$"),
        (
            {"benchmarks": {"recall": minimal(log={"evry": 1})}},
            {},
            r"^config\.benchmarks\.recall\.log has no key 'evry'",
        ),
        ({"benchmarks": {"recall": "mqar"}}, {}, r"^config\.benchmarks\.recall='mqar': it is a section"),
        (
            {},
            {"benchmarks.recal.steps": "3"},
            r"no key 'benchmarks\.recal\.steps'\. Did you mean 'benchmarks\.recall\.s",
        ),
    ],
)
def test_what_a_comparison_gets_wrong_is_refused(written, changes, overrides, message):
    with pytest.raises(Refused, match=message):
        config.load(written(comparison(**changes)), overrides)
