"""A softmax over the few keys that end where a monotonic head stops: Chiu & Raffel 2018, equations 16 to 20."""

from tests.oracle.steps import aligned, chunk, chunk_energy, moved, stops


def mocha(*, hidden, window, bias, hard):
    def step(state, query, keys, seen, place, params, head, kv_head):
        stopped = moved(state, stops(query, keys, params, head, kv_head, hard), seen)
        return chunk(stopped, chunk_energy(query, keys, params, head, kv_head), seen, window), stopped

    return aligned(lambda keys: None, step)
