"""The experiment of a stranger's data: a small model and a budget that suit what was guessed of it."""

from typing import Any

from ml_collections import ConfigDict

from attention_jax.data.guess_images import patch_of
from attention_jax.data.guessed import Guess

# How many steps a run has: that of texts three variants with three seeds train within three minutes on two cores.
_EPOCHS = 8
_FEWEST_STEPS, _MOST_STEPS = 60, 400
_BATCH = 32
_SHORT = 64  # tokens; what a step of additive attention takes grows with their square
_OPTIMIZER = {"name": "adamw", "learning_rate": 3e-3, "weight_decay": 0.1, "clip_norm": 1.0}


def experiment_of(guess: Guess) -> ConfigDict:
    """Returns the config of an experiment on guessed data, as a config file gives one."""
    batch, steps = _budget(guess)
    every = max(1, steps // 5)
    return ConfigDict(
        {
            "data": guess.section,
            **_MODELS[guess.kind](guess),
            "optimizer": {**_OPTIMIZER, "schedule": {"name": "warmup_cosine", "warmup_steps": steps // 10}},
            "batch_size": batch,
            "steps": steps,
            "evaluation": {"every": every, "batch_size": 4 * batch},
            "checkpoint": {"every": every},
        }
    )


def description(config: ConfigDict) -> str:
    """Returns the words on the model and the budget of the whole config of such an experiment."""
    model, steps = config.model, config.get("steps")
    shape = ", ".join(f"{key} {model[key]}" for key in ("num_layers", "width", "num_heads") if key in model)
    length = f"{steps} steps" if steps else f"{config.epochs} epochs"
    return f"model {model.name}: {shape}; {length} of {config.batch_size} examples"


def _budget(guess: Guess) -> tuple[int, int]:
    """Returns the size of a batch, a power of two that is at most a quarter of the examples, and the steps."""
    batch = _BATCH
    while batch > 1 and 4 * batch > guess.train_examples:
        batch //= 2
    steps = _EPOCHS * guess.train_examples // batch
    return batch, min(max(steps, _FEWEST_STEPS), _MOST_STEPS)


def _texts(guess: Guess) -> dict[str, Any]:
    return {
        "task": {"name": "classification"},
        "model": {"name": "encoder_classifier", **_backbone(guess.length[0])},
    }


def _images(guess: Guess) -> dict[str, Any]:
    height, width = guess.length
    return {
        "task": {"name": "classification"},
        "model": {"name": "vit", "patch": patch_of(height, width), **_backbone(_SHORT)},
    }


def _language(guess: Guess) -> dict[str, Any]:
    return {"task": {"name": "token_prediction"}, "model": {"name": "gpt", **_backbone(guess.length[0])}}


def _backbone(length: int) -> dict[str, Any]:
    if length > _SHORT:
        return {"num_layers": 1, "num_heads": 2, "width": 32}
    return {"num_layers": 2, "num_heads": 4, "width": 64}


_MODELS = {"texts": _texts, "images": _images, "language": _language}
