"""n^(s z_j) / sum_l n^(s z_l): Nakanishi 2025, equation 3."""

from tests.oracle.rows import by_rows, scores


def scalable_softmax():
    def weights(query, keys, place, own, params, head):
        powers = float(len(keys)) ** (params["speed"][head] * scores(query, keys))
        return powers / powers.sum()

    return by_rows(weights)
