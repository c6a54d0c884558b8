"""Gates times attention to compressed, to selected and to near keys: Yuan et al. 2025, equations 5 to 12."""

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.functions import sigmoid
from tests.oracle.loops import Result
from tests.oracle.rows import scores, softmax


def nsa(length, stride, block, selected, window):
    def compressed(name, tokens, params, head):
        out = []
        for start in range(0, len(tokens) - length + 1, stride):
            hidden = np.zeros(tokens.shape[1])
            for place in range(length):
                token = tokens[start + place] + params[f"{name}_place"][head, place]
                hidden += token @ params[f"{name}_in"][head, place]
            out.append((hidden * sigmoid(np, hidden)) @ params[f"{name}_out"][head])
        return np.array(out).reshape(-1, tokens.shape[1])

    def chosen(weights, tokens):
        own, importance = (tokens - 1) // block, {}
        for j in range(own + 1):
            places = [block // stride * j + m - n for m in range(block // stride) for n in range(length // stride)]
            importance[j] = sum(row[c] for row in weights for c in places if 0 <= c < len(row))
        always = {0, max(own - 1, 0), own}
        others = sorted(set(importance) - always, key=lambda j: (-importance[j], j))
        blocks = [*always, *others[: selected - len(always)]]
        return [t for j in blocks for t in range(j * block, min((j + 1) * block, tokens))]

    def run(query, key, value, params, per_token, visible, positions):
        batch, queries, heads, _ = query.shape
        group, out = heads // key.shape[2], np.zeros((*query.shape[:3], value.shape[-1]))
        for b, k, i in np.ndindex(batch, key.shape[2], queries):
            seen = np.flatnonzero(visible[b, k * group, i])
            if not len(seen):
                continue
            keys, values, members = key[b, seen, k], value[b, seen, k], range(k * group, (k + 1) * group)
            key_blocks, value_blocks = (compressed(*of, params, k) for of in (("key", keys), ("value", values)))
            rows = [scores(query[b, i, n], key_blocks) for n in members]
            weights = [softmax(row) if len(row) else row for row in rows]
            near, picked = range(max(0, len(seen) - window), len(seen)), chosen(weights, len(seen))
            for n, weight in zip(members, weights, strict=True):
                of_branches = [weight @ value_blocks]
                for tokens in (picked, list(near)):
                    of_branches.append(softmax(scores(query[b, i, n], keys[tokens])) @ values[tokens])
                gates = sigmoid(np, per_token["gates"][b, i, n])
                out[b, i, n] = sum(gate * branch for gate, branch in zip(gates, of_branches, strict=True))
        return Result(out)

    return Whole(run)
