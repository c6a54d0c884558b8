"""What a test needs and a machine may lack: data, a browser, a database server."""

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skips the test with the reason; in CI, where .ci/run has brought all of it, the test fails.

    Args:
      reason: the thing that is not here and how it comes here.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
