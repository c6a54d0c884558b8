"""Looks at a trained model on one input, and writes the report."""

import sys
from pathlib import Path

from attention_jax.base.errors import Refused
from attention_jax.study.look.given import given
from attention_jax.study.look.look_report import look_html
from attention_jax.study.look.looked import looked_at
from attention_jax.study.look.maps import attention_maps
from attention_jax.training.run.workdir import write_atomically
from attention_jax.training.trained import restore_trained


def look_at(workdir: Path, text: str, *, checkpoint: str | None, output: Path | None, command: str) -> str:
    """Writes the report of a run on one input, and returns the line that says where.

    Args:
      workdir: the folder of the run.
      text: the input: see `given`.
      checkpoint: see `restore_trained`.
      output: the file; None is look.html in the folder.
      command: what makes the report again.

    Raises:
      Refused: the run, its model or the input cannot be looked at, or the file cannot be written.
    """
    trained = restore_trained(workdir, checkpoint=checkpoint, say=lambda line: print(line, file=sys.stderr))
    shown = given(trained, text)
    maps = attention_maps(trained.model, trained.variables, shown.arrays)
    declared = looked_at(trained, shown.arrays)
    if not maps and not declared:
        raise Refused(
            f"workdir {str(workdir)!r} is of a model without a stack of blocks that forms no weights of what it "
            "declares to be looked at: there are no maps."
        )
    facts = {"run": str(workdir), "step": str(trained.step), "input": text}
    for name, tokens in shown.tokens.items():
        facts[f"tokens{f' of the {name}' if name else ''}"] = str(len(tokens))
    title = f"Attention of {type(trained.model).__name__}"
    path = output or workdir / "look.html"
    try:
        page = look_html(maps, shown, title=title, facts=facts, command=command, declared=declared)
        write_atomically(path, page)
    except OSError as error:
        raise Refused(f"{path} cannot be written ({error.strerror}): give another --output.") from None
    return f"open {path} in a browser"
