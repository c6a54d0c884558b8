"""Models by name."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused
from attention_jax.base.options import check_options, option_parameters

models: Catalogue = Catalogue("model", "attention_jax.models")


def register(name: str) -> Any:
    """Registers the decorated Flax module as the model `name`; its fields are the options of `config.model`.

    The module says with `reads` which array of a batch it takes. A field without a default is a fact of the data set
    (vocabulary_size, length, image_shape, num_classes).
    """
    return partial(models.register, name=name)


def build(name: str, *, facts: Mapping[str, Any], **options: Any) -> nn.Module:
    """Makes a model for a data set.

    Args:
      name: the model's registered name.
      facts: what the data set knows of itself.
      **options: the other keys of `config.model`.

    Raises:
      Refused: the name or an option is unknown, or the data set does not have a fact that the model needs.
    """
    module = models.lookup(name)
    owner = f"model {name!r}"
    known = option_parameters(module)
    needed = [key for key, parameter in known.items() if parameter.default is inspect.Parameter.empty]
    missing = [key for key in needed if key not in facts and key not in options]
    if missing:
        raise Refused(
            f"{owner} needs {', '.join(missing)}; this data set has {', '.join(sorted(facts))}: choose a model for "
            "such data."
        )
    options = {**{key: facts[key] for key in needed if key in facts}, **options}
    check_options(module, options, owner=owner)
    return module(**options)
