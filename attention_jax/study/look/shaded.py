"""Lines of words, each word the darker the more of it is taken."""

from collections.abc import Sequence
from html import escape

import numpy as np

from attention_jax.study.look.looked import Lines

# rgb of the darkest, the last of Vega's "blues".
_BLUE = "8, 48, 107"


def shaded(lines: Lines) -> str:
    """Returns a table with a row for each line and mean; a line's darkest word is its own largest weight."""
    several = max((len(weights) for weights in lines.weights), default=1) > 1
    rows = [
        f"<tr><td>{_label(number, mean if several else None)}</td><td>{_words(words, of_mean)}</td></tr>"
        for number, (words, weights) in enumerate(zip(lines.words, lines.weights, strict=True), start=1)
        for mean, of_mean in enumerate(weights, start=1)
    ]
    return "<table><tbody>\n" + "\n".join(rows) + "\n</tbody></table>"


def _label(line: int, mean: int | None) -> str:
    return str(line) if mean is None else f"{line}, mean {mean}"


def _words(words: Sequence[str], weights: np.ndarray) -> str:
    most = max(float(weights.max(initial=0)), np.finfo(np.float32).tiny)
    shades = [f"background: rgba({_BLUE}, {0.75 * weight / most:.2f})" for weight in weights]
    return " ".join(
        f'<span title="{weight:.3f}" style="{shade}">{escape(word)}</span>'
        for word, weight, shade in zip(words, weights, shades, strict=True)
    )
