"""Monotonic attention where order is monotone: sources of 40 tokens whose stretches are written once each.

Command: python launch.py train --config=experiments/stretched_copying.py --workdir=runs/stretched_copying
         ... --config=experiments/stretched_copying.py:mocha, or :uniform, the control that weighs all tokens alike
A BiLSTM of width 64 in each direction and an LSTM of width 128 without input feeding. Accuracy is that of the next
token. Bars: 99% with monotonic and MoChA, while uniform weights stay below 50%. Declared for one core and 30 minutes a
row. Not run yet.
"""

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.study.reproduction.declaration import Figure, Reproduction

# The paper's bias of the energies, -4, looks far ahead; here the next stretch is a few tokens away.
ATTENTIONS = {
    "monotonic": "monotonic:bias=-1.0",
    "mocha": "mocha:window=4,bias=-1.0",
    "additive": "additive",
    "uniform": "uniform",
}
CHANCE = Figure(0.05, "a guess among 20 symbols")
RESULTS = tuple(
    Reproduction(
        name=f"stretched_copying_{attention}",
        argument=attention,
        system=f"LSTM encoder-decoder, {words}",
        data="generated: stretches of a source of 40 tokens, each written once",
        core_minutes=30,
        metric="test_accuracy",
        bar=bar,
        floor=CHANCE,
    )
    for attention, words, bar in (
        ("monotonic", "monotonic attention", 0.99),
        ("mocha", "MoChA, chunks of 4", 0.99),
        ("uniform", "uniform weights, the control", None),
    )
)


def get_config(attention: str = "monotonic") -> ConfigDict:
    """Returns 3000 steps at most, which end when 99.8% of the validation tokens are right.

    Args:
      attention: monotonic, mocha, additive or uniform.

    Raises:
      Refused: it is none of them.
    """
    if attention not in ATTENTIONS:
        raise Refused(f"stretched_copying.py has no attention {attention!r}.{did_you_mean(attention, ATTENTIONS)}")
    return ConfigDict(
        {
            "data": {"name": "stretched_copying"},
            "task": {"name": "token_prediction", "metric": "accuracy"},
            "model": {
                "name": "seq2seq",
                "width": 64,
                "encoder": {"cell": "lstm", "width": 64, "bidirectional": True},
                "decoder": {"cell": "lstm", "width": 128},
                "form": "luong",
                "attention": ATTENTIONS[attention],
                "input_feeding": False,
            },
            "optimizer": {
                "name": "adamw",
                "learning_rate": 3e-3,
                "schedule": {"name": "warmup_cosine", "warmup_steps": 100},
                "weight_decay": 1e-4,
                "clip_norm": 1.0,
            },
            "batch_size": 64,
            "steps": 3000,
            "evaluation": {"every": 250, "batch_size": 200, "target": 0.998},
            "checkpoint": {"every": 250},
        }
    )
