"""How much is formed at a time, of what is larger than memory should hold."""

# 16 MiB of float32.
ELEMENTS = 2**22


def at_a_time(count: int, each: int) -> int:
    """Returns how many of some things are formed at a time: all, or fewer, and one at least.

    Args:
      count: how many there are.
      each: the elements of one.
    """
    return min(count, max(1, ELEMENTS // each))
