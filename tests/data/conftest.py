"""What the tests of the data room share."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from attention_jax.base.errors import Refused
from tests.missing import missing


@pytest.fixture(scope="session")
def refused() -> Callable[..., AbstractContextManager[None]]:
    """`with refused("word", ...)`: the body is refused, in one line that has every word."""

    @contextmanager
    def check(*words: str) -> Iterator[None]:
        with pytest.raises(Refused) as caught:
            yield
        message = str(caught.value)
        assert "\n" not in message
        for word in words:
            assert word in message

    return check


@pytest.fixture(scope="module")
def prepared() -> Iterator[Path]:
    """The folder of prepared TFDS sets, with TFDS_DATA_DIR set to it."""
    folder = os.environ.get("ATTENTION_JAX_TFDS")
    if folder is None:
        missing(
            "set ATTENTION_JAX_TFDS to a folder of prepared TFDS sets (fashion_mnist, tiny_shakespeare, scan, aeslc)"
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", folder)
        yield Path(folder)
