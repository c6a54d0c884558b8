"""Gehring et al. 2017, section 3.1."""


def embed(hidden, position, params, *, length):
    """A token at its position."""
    return hidden + params["position_table"][position]
