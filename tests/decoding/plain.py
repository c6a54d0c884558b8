"""Decoding in plain Python over `log_probabilities(tokens)`, which returns those of the next token."""

import itertools

import numpy as np


def penalty(length, alpha):
    return ((5 + length) / 6) ** alpha


def greedy(log_probabilities, prompt, *, most, end):
    """Returns the continuation and the log-probability of each of its tokens."""
    tokens, values = [], []
    while len(tokens) < most and not (tokens and tokens[-1] in end):
        next_one = log_probabilities([*prompt, *tokens])
        tokens.append(int(next_one.argmax()))
        values.append(next_one[tokens[-1]])
    return tokens, values


def exhaustive(log_probabilities, prompt, *, vocabulary, most, end, alpha, best):
    """Returns the `best` of all continuations there are, as (score, tokens)."""
    found = []
    for length in range(1, most + 1):
        for tokens in itertools.product(range(vocabulary), repeat=length):
            ended = tokens[-1] in end
            if set(tokens[:-1]) & set(end) or not (ended or length == most):
                continue
            total = sum(log_probabilities([*prompt, *tokens[:place]])[token] for place, token in enumerate(tokens))
            found.append((total / penalty(length, alpha), list(tokens)))
    return sorted(found, key=lambda one: -one[0])[:best]


def beam_search(log_probabilities, prompt, *, beams, most, end, alpha, best, number=float):
    """Returns the `best` hypotheses as (score, tokens), of equals the one that was found first.

    `number` is the type that log-probabilities are added up in.
    """
    live, found = [(number(0), [])], []
    for step in range(1, most + 1):
        candidates = []
        for total, tokens in live:
            next_ones = log_probabilities([*prompt, *tokens])
            candidates += [(number(total + number(value)), [*tokens, token]) for token, value in enumerate(next_ones)]
        ranked = sorted((one for one in candidates if one[0] > -np.inf), key=lambda one: -one[0])
        over = [(total / number(penalty(step, alpha)), tokens) for total, tokens in ranked[:beams] if tokens[-1] in end]
        found = sorted(found + over, key=lambda one: -one[0])[:best]
        live = [one for one in ranked if one[1][-1] not in end][:beams]
        if not live or (len(found) == best and live[0][0] / number(penalty(most, alpha)) <= found[-1][0]):
            return found
    return sorted(found + [(t / number(penalty(most, alpha)), s) for t, s in live], key=lambda one: -one[0])[:best]
