"""Names to builders: found by importing a package, refused twice, called with options that exist."""

import sys
from dataclasses import dataclass

import pytest

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.options import check_options, option_parameters
from attention_jax.kernels import Refused


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package `things` of one module that registers `lamp` in `things.catalogue`."""
    folder = tmp_path / "things"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "lamps.py").write_text(
        "from tests.base.test_catalogue import CATALOGUES\n"
        "@CATALOGUES[-1].register\n"
        "def lamp(*, watts: int, colour: str = 'white'):\n"
        "    return watts, colour\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    CATALOGUES.append(Catalogue("thing", "things"))
    yield CATALOGUES[-1]
    CATALOGUES.pop()
    for name in [name for name in sys.modules if name.partition(".")[0] == "things"]:
        del sys.modules[name]


CATALOGUES: list = []


def test_what_a_package_registers_is_found_and_built(package):
    assert package.names() == ["lamp"]
    assert package.lookup("lamp")(watts=3) == (3, "white")
    assert package.build("lamp", watts=5, colour="red") == (5, "red")


def test_a_name_that_is_not_there_is_refused_with_the_nearest(package):
    with pytest.raises(Refused, match=r"there is no thing 'lump'\. Did you mean 'lamp'\?"):
        package.lookup("lump")


def test_an_option_that_is_unknown_or_missing_is_refused(package):
    with pytest.raises(Refused, match=r"thing 'lamp' has no option 'wats' \(given 3\)\. Did you mean 'watts'"):
        package.build("lamp", wats=3)
    with pytest.raises(Refused, match="thing 'lamp' needs 'watts', which was not given"):
        package.build("lamp", colour="red")


def test_a_second_builder_of_a_name_is_refused(package):
    package.names()

    def lamp():
        return None

    with pytest.raises(Refused, match=r"thing 'lamp' is already registered, by things\.lamps: choose another name"):
        package.register(lamp)
    assert package.register(lamp, name="candle") is lamp
    assert package.names() == ["candle", "lamp"]


def test_a_module_that_fails_fails_every_time_and_is_not_skipped(package, tmp_path):
    (tmp_path / "things" / "aaa.py").write_text("raise RuntimeError('broken')\n")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            package.names()


def test_what_flax_adds_to_the_fields_of_a_module_is_no_option():
    @dataclass
    class Module:
        width: int
        depth: int = 2
        parent: object = None
        name: str | None = None

    assert list(option_parameters(Module)) == ["width", "depth"]
    with pytest.raises(Refused, match="module 'x' has no option 'name'"):
        check_options(Module, {"width": 3, "name": "mine"}, owner="module 'x'")
