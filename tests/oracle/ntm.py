"""Content, interpolation, circular shift, sharpening: Graves et al. 2014, equations 5 to 9."""

import numpy as np

from tests.oracle.steps import aligned, sigmoid, softmax


def ntm(*, shift):
    def step(state, query, keys, seen, place, params, head, kv_head):
        read = query @ params["read"][head]
        strength, gate, power, *shares = query @ params["controls"][head] + params["bias"][head]
        cosine = [key @ read / np.sqrt((key @ key) * (read @ read)) for key in keys]
        weights = softmax(np.log1p(np.exp(strength)) * np.array(cosine), seen)
        if state.any():
            weights = sigmoid(gate) * weights + (1 - sigmoid(gate)) * np.where(seen, state, 0)
        shares = np.exp(shares) / np.exp(shares).sum()
        places, shifted = np.flatnonzero(seen), np.zeros(len(keys))
        for r, j in enumerate(places):
            for number, share in enumerate(shares):
                shifted[j] += share * weights[places[(r - (number - shift)) % len(places)]]
        sharpened = shifted ** (1 + np.log1p(np.exp(power)))
        sharpened = sharpened / sharpened.sum()
        return sharpened, sharpened

    return aligned(np.zeros, step)
