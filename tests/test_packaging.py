"""What the package asks for and what it is tested with: the ranges of pyproject.toml hold every pin."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# The file of each extra that has pins; those of `test` stand in requirements.txt, with the core's.
PINS = {"prepare": "requirements-prepare.txt", "bench": "requirements-bench.txt"}


def ranges(*requirements: str) -> dict[str, Requirement]:
    """Returns requirements by the name of their package."""
    return {canonicalize_name(Requirement(text).name): Requirement(text) for text in requirements}


def pins(file: str) -> Iterator[tuple[str, Version, Requirement]]:
    """Yields the package, the version and the whole line of each pin in a file, not of those that it includes."""
    for line in (ROOT / file).read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text and not text.startswith("-"):
            pinned = Requirement(text)
            (specifier,) = pinned.specifier
            assert specifier.operator == "==", f"{file}: {line} is no pin"
            yield canonicalize_name(pinned.name), Version(specifier.version), pinned


CORE = ranges(*PROJECT["dependencies"])
EXTRAS = {extra: ranges(*texts) for extra, texts in PROJECT["optional-dependencies"].items()}


@pytest.mark.parametrize(
    ("file", "asked"),
    [("requirements.txt", {**CORE, **EXTRAS["test"]}), *((file, EXTRAS[extra]) for extra, file in PINS.items())],
)
def test_every_pin_is_in_its_range_and_both_name_the_same_packages(file: str, asked: dict[str, Requirement]) -> None:
    pinned = list(pins(file))
    assert {name for name, _, _ in pinned} == asked.keys()
    for name, version, _ in pinned:
        assert version in asked[name].specifier, f"{file} pins {name} {version}, pyproject has {asked[name]}"


@pytest.mark.parametrize(("python", "jax"), [("3.11", "0.10.1"), ("3.12", "0.11.2"), ("3.14", "0.11.2")])
def test_each_python_has_one_pin_of_each_package(python: str, jax: str) -> None:
    holds = {"python_version": python, "python_full_version": f"{python}.0"}
    there = [
        (name, str(version))
        for name, version, pin in pins("requirements.txt")
        if pin.marker is None or pin.marker.evaluate(holds)
    ]
    assert len(dict(there)) == len(there)
    assert dict(there).keys() == CORE.keys() | EXTRAS["test"].keys()
    assert dict(there)["jax"] == jax


def test_a_user_s_own_jax_is_not_forbidden_but_for_the_one_that_is_wrong() -> None:
    for asked in (CORE["jax"], EXTRAS["cuda"]["jax"], EXTRAS["tpu"]["jax"]):
        assert [version for version in ("0.10.1", "0.11.2", "0.12.0") if version not in asked.specifier] == []
        assert "0.10.2" not in asked.specifier
