"""The same training step in PyTorch on the CPU, in a process without JAX's threads; never a requirement."""

import itertools
from typing import Any

import numpy as np

from attention_jax.bench.cases import imported
from attention_jax.bench.steps import (
    BETAS,
    CLIP_NORM,
    EPSILON,
    LEARNING_RATE,
    LOSSES,
    SAMPLE_SECONDS,
    WEIGHT_DECAY,
    StepCase,
    token_batches,
    weights,
)
from attention_jax.bench.timing import Ready, timed
from attention_jax.bench.torch_side import start

__all__ = ["prepare", "start"]


def prepare(case: StepCase) -> Ready:
    """Makes a step ready to be sampled: scaled_dot_product_attention, fused AdamW, clip_grad_norm_."""
    torch = imported("torch")
    params = {path: torch.from_numpy(array).requires_grad_() for path, array in _fused(weights(case)).items()}
    matrices = {path for path in params if path.endswith(("kernel", "embedding"))}
    groups = [
        {"params": [params[path] for path in params if (path in matrices) == decays], "weight_decay": decay}
        for decays, decay in ((True, WEIGHT_DECAY), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, fused=True)
    batches = [
        (torch.from_numpy(batch["inputs"]).long(), torch.from_numpy(batch["targets"]).long())
        for batch in token_batches(case)
    ]
    everything = list(params.values())

    def step(inputs: Any, targets: Any) -> Any:
        loss = loss_of(torch, params, inputs, targets, case)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(everything, CLIP_NORM)
        optimizer.step()
        return loss

    losses = [step(*batches[number % len(batches)]).item() for number in range(LOSSES)]
    endless = itertools.cycle(batches)
    sample = timed(lambda: step(*next(endless)), at_least=SAMPLE_SECONDS)
    return Ready(sample, [losses], {"devices": 1, "threads": torch.get_num_threads()})


def loss_of(torch: Any, params: dict[str, Any], inputs: Any, targets: Any, case: StepCase) -> Any:
    """Returns the mean cross-entropy of a GPT with norms before its halves, erf gelu and a tied head, in nats."""
    nn = torch.nn.functional

    def norm(hidden: Any, name: str) -> Any:
        return nn.layer_norm(hidden, (case.width,), params[f"{name}/scale"], params[f"{name}/bias"], 1e-5)

    hidden = nn.embedding(inputs, params["token/embedding"]) + params["position/embedding"][: inputs.shape[1]]
    for layer in range(case.layers):
        block = f"block_{layer}"
        projected = nn.linear(norm(hidden, f"{block}/attention_norm"), params[f"{block}/attention/in/kernel"])
        heads = (
            part.view(*part.shape[:2], case.heads, -1).transpose(1, 2) for part in projected.split(case.width, dim=2)
        )
        attended = nn.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).reshape(hidden.shape)
        hidden = hidden + nn.linear(attended, params[f"{block}/attention/out/kernel"])
        wide = nn.linear(norm(hidden, f"{block}/feed_forward_norm"), params[f"{block}/feed_forward/hidden/kernel"])
        hidden = hidden + nn.linear(nn.gelu(wide), params[f"{block}/feed_forward/out/kernel"])
    logits = nn.linear(norm(hidden, "norm"), params["token/embedding"])
    return nn.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _fused(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights as PyTorch's own layers hold them: matrices [out, in], query, key and value as one."""
    found = {}
    for path, array in weights.items():
        if not path.endswith("kernel"):
            found[path] = array
        elif path.endswith("attention/query/kernel"):
            block = path.removesuffix("query/kernel")
            parts = [weights[f"{block}{name}/kernel"].reshape(len(array), -1).T for name in ("query", "key", "value")]
            found[f"{block}in/kernel"] = np.concatenate(parts)
        elif not path.endswith(("attention/key/kernel", "attention/value/kernel")):
            found[path] = np.ascontiguousarray(array.reshape(-1, array.shape[-1]).T)
    return found
