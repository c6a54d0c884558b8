"""A softmax over all keys up to where a monotonic head stops: Arivazhagan et al. 2019, equations 3 to 5."""

from tests.oracle.steps import aligned, chunk, chunk_energy, moved, stops


def milk(*, hidden, bias, hard):
    def step(state, query, keys, seen, place, params, head, kv_head):
        stopped = moved(state, stops(query, keys, params, head, kv_head, hard), seen)
        return chunk(stopped, chunk_energy(query, keys, params, head, kv_head), seen, len(keys)), stopped

    return aligned(lambda keys: None, step)
