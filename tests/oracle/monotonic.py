"""The expected alignment of a monotonic head: Raffel et al. 2017, equations 8, 9 and 16."""

from tests.oracle.steps import aligned, moved, stops


def monotonic(*, hidden, bias, hard):
    def step(state, query, keys, seen, place, params, head, kv_head):
        weights = moved(state, stops(query, keys, params, head, kv_head, hard), seen)
        return weights, weights

    return aligned(lambda keys: None, step)
