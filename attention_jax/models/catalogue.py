"""Models by name."""

import inspect
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.options import is_section, option_parameters, section_parameters
from attention_jax.layers.attention import LOOKED_AT

# The field of a model whose options are keys of `config.model` themselves; those of other dataclasses are sections.
STACK = "stack"

models: Catalogue = Catalogue("model", "attention_jax.models")
# What a layer sows into it is added to the loss.
LOSSES = "losses"
# Collections that are not a model's to declare: what is looked at, Flax's own of it too, is never part of training.
_TAKEN = ("params", "buffers", LOSSES, LOOKED_AT, "intermediates")


def register(name: str) -> Any:
    """Registers the decorated Flax module as the model `name`; its fields are the options of `config.model`.

    The module says with `reads` which arrays of a batch it needs, and may say with `may_read` which ones it takes where
    the batch has them; each is an argument of its `__call__`. It says with `mutable` which collections beside "params"
    and "buffers" a training step changes, such as ("batch_stats",), and with `parameter_rules` where parameters lie on
    a mesh that splits them (`training.rules`). A field without a default is a fact of the data set
    (vocabulary_size, length, image_shape, num_classes).

    A field that is a dataclass is a section of `config.model`, such as `model.encoder.num_layers`, and the options of a
    field `stack` are keys of `config.model` itself.

    Raises:
      Refused: the name is taken, or the module does not say what it reads in this way.
    """
    return partial(_registered, name=name)


def _registered(module: type[nn.Module], *, name: str) -> type[nn.Module]:
    taken = inspect.signature(module.__call__).parameters
    for said in ("reads", "may_read"):
        arrays = getattr(module, said, ())
        # A lone name would be read letter by letter.
        if not isinstance(arrays, tuple) or (said == "reads" and not arrays):
            raise Refused(f"model {name!r} has {said}={arrays!r}: give a tuple of names, such as ('tokens',).")
        for array in arrays:
            if array not in taken:
                raise Refused(
                    f"model {name!r} has {array!r} in {said}, which its __call__ does not take: add an argument "
                    f"{array}, or leave it out of {said}."
                )
    declared = mutable(module)
    if not isinstance(declared, tuple) or {*declared} & {*_TAKEN}:
        raise Refused(
            f"model {name!r} has mutable={declared!r}: give a tuple of names, such as ('batch_stats',), none of them "
            f"{' or '.join(_TAKEN)}."
        )
    return models.register(module, name=name)


def mutable(model: nn.Module | type[nn.Module]) -> tuple[str, ...]:
    """Returns the collections of a model that a training step changes."""
    return getattr(model, "mutable", ())


def parameter_rules(model: nn.Module) -> tuple[Any, ...]:
    """Returns a model's table of where its parameters lie on a mesh."""
    return getattr(model, "parameter_rules", ())


def check_collections(model: nn.Module, found: Iterable[str]) -> None:
    """Checks that a model has declared each collection that its layers write, so that none is dropped.

    Raises:
      Refused: it has not.
    """
    unknown = sorted({*found} - {*mutable(model), *_TAKEN})
    if unknown:
        raise Refused(
            f"model {type(model).__name__} writes into the collection {unknown[0]!r}, which nothing reads: name it in "
            f"its mutable, so that it is kept from step to step, or sow into {LOSSES!r} what is to be minimised."
        )


def may_read(model: nn.Module | type[nn.Module]) -> tuple[str, ...]:
    """Returns the arrays that a model takes where a batch has them."""
    return getattr(model, "may_read", ())


def arrays_of(model: nn.Module, batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arrays of a batch that a model is called with, by name.

    Args:
      model: what reads them.
      batch: named arrays, all that the model needs among them.
    """
    there = (name for name in may_read(model) if name in batch)
    return {name: batch[name] for name in (*model.reads, *there)}


def decode_bytes(model: nn.Module) -> int | None:
    """Returns what one sequence holds while a model decodes it to its full length, in bytes.

    None for a model without a method `decode_bytes`, which does not decode, and where its attention has no steps.
    """
    return model.decode_bytes() if hasattr(model, "decode_bytes") else None


def readers(arrays: Collection[str], *, batch: Collection[str]) -> list[str]:
    """Returns the registered models that read all of these arrays and find all that they need in a batch of these."""
    known = {name: models.lookup(name) for name in models.names()}
    return [
        name
        for name, module in known.items()
        if {*arrays} <= {*module.reads, *may_read(module)} and {*module.reads} <= {*batch}
    ]


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
    known = parameters_of(module)
    needed = [key for key, parameter in known.items() if parameter.default is inspect.Parameter.empty]
    missing = [key for key in needed if key not in facts and key not in options]
    if missing:
        raise Refused(
            f"{owner} needs {', '.join(missing)}; this data set has {', '.join(sorted(facts))}: choose a model for "
            "such data."
        )
    options = {**{key: facts[key] for key in needed if key in facts}, **options}
    return module(**_nested(module, _checked(known, options, owner=owner)))


def parameters_of(module: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """Returns the keys of `config.model` for a model; one whose default is a dataclass is a section."""
    known = option_parameters(module)
    if STACK not in known:
        return known
    of_stack = section_parameters(known[STACK].default)
    return {**{key: parameter for key, parameter in known.items() if key != STACK}, **of_stack}


def _checked(known: Mapping[str, inspect.Parameter], options: Mapping[str, Any], *, owner: str) -> dict[str, Any]:
    """Returns the options, sections as dataclasses.

    Raises:
      Refused: one is unknown.
    """
    for key, value in options.items():
        if key not in known:
            raise Refused(f"{owner} has no option {key!r} (given {value!r}).{did_you_mean(key, known)}")
    made = dict(options)
    for key, parameter in known.items():
        if key in made and is_section(parameter.default) and isinstance(made[key], Mapping):
            of_section = _checked(section_parameters(parameter.default), made[key], owner=f"{owner}, {key}")
            made[key] = replace(parameter.default, **of_section)
    return made


def _nested(module: type[nn.Module], options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options by the fields of a module: those of its stack in one."""
    fields = option_parameters(module)
    if STACK not in fields:
        return dict(options)
    own = {key: value for key, value in options.items() if key in fields}
    of_stack = {key: value for key, value in options.items() if key not in fields}
    return {**own, STACK: replace(fields[STACK].default, **of_stack)}
