"""Prints the specs whose own files a change touches, for `make test-changed`: `python -m tests.changed BASE`.

A variant, a mixer, a position encoding, a pooling or a pair is made of the file that registers it and of those of the
same folders that it imports, and is held by its oracle. An engine is of all of them: `make test-long` holds it.
"""

import ast
import functools
import inspect
import subprocess
import sys
from pathlib import Path

from attention_jax.kernels.specs import Kind
from attention_jax.layers.kinds import KINDS

ROOT = Path(__file__).parents[1]
FOLDERS = ("kernels.variants", "kernels.positions", "kernels.pooling", "kernels.pairs", "layers.mixers")
OWN = tuple(f"attention_jax.{folder}." for folder in FOLDERS)


def changed_specs(files: set[str]) -> list[str]:
    """Returns the specs, with what they are tried with, that files of these paths in the repository make."""
    return [
        kind.choose(name).claims.tried or name
        for kind in KINDS
        for name in kind.catalogue.names()
        if files & files_of(kind, name)
    ]


@functools.cache
def files_of(kind: Kind, name: str) -> set[str]:
    """Returns the files that one of them is made of and held by."""
    module = inspect.unwrap(kind.catalogue.lookup(name)).__module__
    folder = module.split(".")[2].replace("variants", ".")
    return {*map(path_of, made_of(module)), str(Path("tests/oracle", folder, f"{name}.py"))}


def path_of(module: str) -> str:
    """Returns the file of a module of the house."""
    return f"{module.replace('.', '/')}.py"


def made_of(module: str) -> set[str]:
    """Returns a module and those of the mechanisms' folders that it imports, and they in their turn."""
    found, waiting = set(), [module]
    while waiting:
        one = waiting.pop()
        found.add(one)
        tree = ast.parse((ROOT / path_of(one)).read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        named = {f"{node.module}{of}" for node in imports for of in ("", *(f".{alias.name}" for alias in node.names))}
        waiting += [of for of in named - found if of.startswith(OWN) and (ROOT / path_of(of)).is_file()]
    return found


def changed_files(base: str) -> set[str]:
    """Returns what is not as where the branch left `base`, committed or not."""

    def lines(*words: str) -> list[str]:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()

    (start,) = lines("merge-base", base, "HEAD")
    return {*lines("diff", "--name-only", start), *lines("ls-files", "--others", "--exclude-standard")}


if __name__ == "__main__":
    print(",".join(changed_specs(changed_files(sys.argv[1]))))
