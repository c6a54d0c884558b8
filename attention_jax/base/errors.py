"""What the product says when an input cannot be used."""

import difflib
from collections.abc import Iterable


class Refused(ValueError):
    """The user's input cannot be honoured, and nothing was done.

    The message is one line that names the thing, its value, the reason and the way out. The launcher prints it and
    exits with code 2.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the nearest of the `known` words, or what there is when none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if near:
        return f" Did you mean {near[0]!r}?"
    return f" There is: {', '.join(known)}." if known else ""
