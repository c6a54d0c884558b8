"""Training steps as values: a small GPT with the same weights and batches for everyone, and the measures of them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from attention_jax.bench.cases import Kind, Process, Quantity
from attention_jax.bench.gpt_weights import drawn, gpt_shapes
from attention_jax.bench.measures import Comparison, Measure

LEARNING_RATE, WEIGHT_DECAY, BETAS, EPSILON, CLIP_NORM = 1e-3, 0.1, (0.9, 0.99), 1e-8, 1.0
# Steps whose losses must agree before anything is timed, and how many batches there are to go around.
LOSSES, BATCHES = 8, 16
# What a sample takes at least: steps follow one another, as in training, and threads do not fall asleep.
SAMPLE_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class StepCase:
    """A training step of a GPT in float32, without dropout: AdamW, the gradient clipped by its global norm.

    Attributes:
      who: "attention_jax", "plain jax.jit" or "torch".
      process: as of `Case`.
      quantity: "run", the time of a step on a batch that is there; "loop", that of a step of the whole loop without the
        device's; "input", the time of reading a batch and putting it on the devices.
      experiment: a benchmark of experiments/demo.py in place of the GPT, or None.
      layers: how many blocks.
      heads: N.
      width: D.
      tokens: T.
      batch: B.
      vocabulary: V.
    """

    kind: ClassVar[Kind] = "step"

    who: str
    process: Process
    quantity: Quantity = "run"
    experiment: str | None = None
    layers: int = 4
    heads: int = 4
    width: int = 128
    tokens: int = 64
    batch: int = 12
    vocabulary: int = 65

    @property
    def shape(self) -> dict[str, Any]:
        """The sizes by the letters of the field, or the experiment that has them."""
        if self.experiment is not None:
            return {"experiment": self.experiment}
        names = {"L": "layers", "N": "heads", "D": "width", "T": "tokens", "B": "batch", "V": "vocabulary"}
        return {letter: getattr(self, name) for letter, name in names.items()}

    def to_json(self) -> dict[str, Any]:
        """Returns the values that `StepCase(**values)` makes it of again."""
        return asdict(self)


@dataclass(frozen=True)
class StepSettings:
    """What the command line chooses: the sizes of the GPT, by default those that nanoGPT publishes for a CPU.

    Attributes:
      batch: B.
      tokens: T.
      heads: N, a divisor of the width.
      width: D.
      layers: how many blocks.
    """

    kind: ClassVar[Kind] = "step"
    smallest: ClassVar[dict[str, int]] = {"tokens": 2, "heads": 1, "width": 1, "batch": 1, "layers": 1}

    batch: int = 12
    tokens: int = 64
    heads: int = 4
    width: int = 128
    layers: int = 4

    @property
    def sizes(self) -> str:
        """The sizes in words."""
        return f"L{self.layers} N{self.heads} D{self.width} T{self.tokens} B{self.batch}"

    def case(self, **changes: Any) -> StepCase:
        """Returns our own case, on one device unless `changes` say otherwise."""
        return StepCase(**{"who": "attention_jax", "process": "one_device", **asdict(self), **changes})


def weights(case: StepCase) -> dict[str, np.ndarray]:
    """Returns the initial parameters by path: projections to heads [D, N, H] and back [N, H, D], the rest [in, out]."""
    sizes = {"layers": case.layers, "heads": case.heads, "width": case.width, "vocabulary": case.vocabulary}
    return drawn(gpt_shapes(**sizes, length=case.tokens, biased=False), stddev=0.1)


def token_batches(case: StepCase) -> list[dict[str, np.ndarray]]:
    """Returns batches of drawn tokens: inputs and targets int32 and weights float32, all 1, each [B, T]."""
    rng = np.random.default_rng(1)
    shape = (case.batch, case.tokens)
    return [
        {
            "inputs": rng.integers(case.vocabulary, size=shape, dtype=np.int32),
            "targets": rng.integers(case.vocabulary, size=shape, dtype=np.int32),
            "weights": np.ones(shape, np.float32),
        }
        for _ in range(BATCHES)
    ]


def _sharded(settings: StepSettings) -> Iterator[Comparison]:
    ours = settings.case()
    what = f"training step, {settings.sizes}, a mesh of one device (at most 1.02x)"
    yield Comparison(what, "time", ours, {"plain jax.jit": replace(ours, who="plain jax.jit")})


def _host(settings: StepSettings) -> Iterator[Comparison]:
    tiny = StepSettings(layers=1, heads=1, width=8, tokens=8, batch=2)
    ours = tiny.case(quantity="loop")
    what = f"host's time of a step, {tiny.sizes}, the whole loop (at most 1.5x)"
    yield Comparison(what, "time", ours, {"plain jax.jit": replace(ours, who="plain jax.jit")})


def _torch(settings: StepSettings) -> Iterator[Comparison]:
    torch = settings.case(who="torch", process="torch")
    for process, where in (("all_cores", "one XLA device a core"), ("one_device", "one XLA device")):
        ours = settings.case(process=process)
        yield Comparison(f"training step, {settings.sizes}, {where}", "speed", ours, {"torch, all cores": torch})


def _input(settings: StepSettings) -> Iterator[Comparison]:
    for name in ("recall", "digits"):
        ours = settings.case(quantity="input", process="all_cores", experiment=name)
        what = f"reading a batch, {name} of experiments/demo.py (at most 0.05x)"
        yield Comparison(what, "time", ours, {"a step": replace(ours, quantity="run")})


STEP_MEASURES = (
    Measure("sharded", "the step as the loop runs it, on a mesh of one device, against a hand-written one", _sharded),
    Measure("host", "a step's time less the device's at a tiny model: the whole loop against a bare one", _host),
    Measure("torch", "the step with one XLA device a core, and with one, against PyTorch on all cores", _torch),
    Measure(
        "input", "reading a batch and putting it on the devices, against a step, in the demo's experiments", _input
    ),
)
