"""Every generated benchmark with small sizes, and an experiment on it."""

from typing import Any

# Small and quick, with every kind of example that the source has.
SMALL: dict[str, dict[str, Any]] = {
    "mqar": {"vocabulary_size": 32, "length": 16, "pairs": 2},
    "compositional_mqar": {"vocabulary_size": 66, "length": 56, "pairs": (1, 4), "test_pairs": (4, 9)},
    "forgetting_mqar": {"vocabulary_size": 32, "length": 24, "pairs": 4, "updates": 2},
    "stacked_mqar": {"vocabulary_size": 32, "pairs": 4, "passes": 2},
    "associative_recall": {"vocabulary_size": 32, "length": 17, "pairs": 4, "fillers": "random"},
    "induction_heads": {"vocabulary_size": 8, "length": 12, "test_lengths": (6, 12)},
    "selective_copying": {"vocabulary_size": 8, "length": 20, "tokens": 4},
    "copying": {"vocabulary_size": 10, "shortest": 4, "longest": 8, "test_longest": 12, "order": "sorted"},
    "needle": {"vocabulary_size": 20, "digits": 2, "lengths": (8, 16)},
    "parity": {"longest": 12, "test_shortest": 12, "test_longest": 20},
    "group_words": {"length": 10, "test_length": 20},
    "flip_flop": {"length": 32},
    "stretched_copying": {"vocabulary_size": 9, "length": 20},
    "listops": {"depth": 4, "arguments": 4, "longest": 24},
    "stories": {"entities": 5, "longest": 3},
    "sorting": {"numbers": 30, "shortest": 6, "longest": 8},
    "convex_hull": {"shortest": 4, "longest": 6},
}
# What reads those that are no tokens in a row.
LSTM = {"width": 4, "bidirectional": True}
POINTING = {
    "task": {"name": "pointing"},
    "model": {"name": "pointer_network", "width": 4, "encoder": LSTM, "decoder": {"width": 8}},
}
SYSTEMS: dict[str, dict[str, Any]] = {
    "stories": {"task": {"name": "classification"}, "model": {"name": "memory_network", "width": 8}},
    "sorting": POINTING,
    "convex_hull": POINTING,
}


def experiment_on(name: str) -> dict[str, Any]:
    """Returns the sections of an experiment of two steps."""
    classified = name == "listops"
    stack = {"num_layers": 1, "num_heads": 1, "width": 8}
    model: dict[str, Any] = {"name": "encoder_classifier" if classified else "gpt", **stack}
    if name == "stretched_copying":
        model = {"name": "transformer", "encoder": stack, "decoder": stack}
    return {
        "data": {"name": name, **SMALL[name], "train_examples": 64, "validation_examples": 8, "test_examples": 8},
        "task": {"name": "classification"} if classified else {"name": "token_prediction", "metric": "accuracy"},
        "model": model,
        "optimizer": {"name": "adamw", "learning_rate": 1e-2},
        "batch_size": 8,
        "steps": 2,
        "log": {"tensorboard": False},
        **SYSTEMS.get(name, {}),
    }
