"""The arrays that a mechanism declares, owned by the module that uses it."""

from collections.abc import Callable

import flax.linen as nn

from attention_jax.kernels.arrays import Declared, Params, SequenceSizes, Sizes, made


def owned_arrays(
    module: nn.Module, declared: dict[str, Declared], sizes: Sizes | SequenceSizes, *, name_of: Callable[[str], str]
) -> Params:
    """Returns the arrays of a mechanism, by its own names; call it from a compact method.

    Those that are trained are parameters of the module, the others are in its collection "buffers"; they are drawn all
    at once. One with a number for each place of a sequence may be longer than this one, which `module.param` would
    refuse: so arrays that are there are read and not asked for.

    Args:
      module: the owner.
      declared: the arrays.
      sizes: what they are drawn for.
      name_of: the name of an array -> what the module calls it.

    Raises:
      Refused: one cannot be made at these sizes.
    """
    if module.is_initializing():
        trained, drawn = made(declared, module.make_rng("params"), sizes)
        for name, array in trained.items():
            module.param(name_of(name), lambda rng, array=array: array)
        for name, array in drawn.items():
            module.variable("buffers", name_of(name), lambda array=array: array)
    return {
        name: module.get_variable("params" if one.trained else "buffers", name_of(name))
        for name, one in declared.items()
    }
