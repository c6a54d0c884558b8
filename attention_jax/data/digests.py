"""What tells the content of a file or folder from what it was when a config was made."""

import hashlib
from pathlib import Path

from attention_jax.base.errors import Refused


def digest_of(content: bytes) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of a content."""
    return hashlib.sha256(content).hexdigest()[:16]


def check_file(path: str, expected: str | None) -> None:
    """Checks the content of a file that was read a moment ago; raises as `check_digest`."""
    if expected is not None:
        check_digest(path, digest_of(Path(path).read_bytes()), expected)


def check_digest(path: str, found: str, expected: str | None) -> None:
    """Checks that a file or folder is what it was when a config was made.

    Args:
      path: of it.
      found: its digest now.
      expected: as the config has it; None is any.

    Raises:
      Refused: it changed.
    """
    if expected is not None and found != expected:
        raise Refused(
            f"{path!r} changed: its digest is {found}, and data.digest is {expected}. Results of both must not mix: "
            "give another --workdir, or the old content back."
        )
