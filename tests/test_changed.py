"""The variants whose own files a change touches."""

from pathlib import Path

import pytest

from attention_jax.layers.kinds import KINDS
from tests.changed import ROOT, changed_specs, files_of

VARIANTS = "attention_jax/kernels/variants"


@pytest.mark.parametrize(
    ("file", "specs"),
    [
        (f"{VARIANTS}/softmax/entmax15.py", {"entmax15"}),
        (f"{VARIANTS}/composed/difference.py", {"differential", "differential_v2"}),
        (f"{VARIANTS}/sparse/swin.py", {"swin:window=3,shift=1,dimensions=1"}),
        ("attention_jax/kernels/pairs/bidaf.py", {"bidaf"}),
        ("tests/oracle/gumbel.py", {"gumbel"}),
        ("tests/oracle/positions/rope.py", {"rope"}),
        ("attention_jax/kernels/engines/dense.py", set()),
        ("README.md", set()),
    ],
)
def test_a_file_is_of_what_registers_in_it_or_imports_it(file, specs):
    assert (ROOT / file).is_file()
    assert {*changed_specs({file})} == specs


def test_every_one_of_the_library_has_its_files():
    for kind in KINDS:
        for name in kind.catalogue.names():
            assert all(Path(ROOT, file).is_file() for file in files_of(kind, name)), name
