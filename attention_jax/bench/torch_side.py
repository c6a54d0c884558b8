"""PyTorch's scaled_dot_product_attention on the CPU, in a process without JAX's threads; never a requirement."""

import os
from typing import Any

import numpy as np

from attention_jax.bench.cases import Case, Process, arrays, digest, imported
from attention_jax.bench.timing import Ready, timed


def start(process: Process) -> dict[str, Any]:
    """Gives PyTorch a thread for each core and returns its environment.

    Raises:
      LeftOut: it is not installed.
    """
    torch = imported("torch")
    # What the process may use; by default PyTorch takes the physical cores of the machine.
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def prepare(case: Case) -> Ready:
    """Makes a case ready to be sampled, its arrays in PyTorch's own layout [B, N, T, H]."""
    torch = imported("torch")

    def loaded(array: np.ndarray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array.swapaxes(1, 2)))

    query, key, value, weighing = (loaded(array) for array in arrays(case))

    def attention() -> Any:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=case.causal)

    def forward() -> tuple[Any, ...]:
        with torch.inference_mode():
            return (attention(),)

    def with_gradients() -> tuple[Any, ...]:
        out = attention()
        return (out, *torch.autograd.grad(out, (query, key, value), weighing))

    if case.backward:
        for array in (query, key, value):
            array.requires_grad_()
    call = with_gradients if case.backward else forward
    results = [result.detach().numpy().swapaxes(1, 2) for result in call()]
    return Ready(timed(call), digest(results, case.compared), {"devices": 1, "threads": torch.get_num_threads()})
