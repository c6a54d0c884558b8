"""The same decoding by Hugging Face transformers, in a process without JAX's threads; never a requirement."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from attention_jax.bench import torch_side
from attention_jax.bench.cases import LeftOut, Process, imported
from attention_jax.bench.decodes import EPSILON, DecodeCase, prompts, weights
from attention_jax.bench.timing import Ready, per_step, timed

SAMPLE_SECONDS = 0.25
# Programs that PyTorch keeps of one function: of each size, batch and number of threads there is one.
PROGRAMS = 64


def start(process: Process) -> dict[str, Any]:
    """Returns the environment of a process for PyTorch.

    Raises:
      LeftOut: PyTorch or transformers is not installed.
    """
    environment = torch_side.start(process)
    imported("torch._dynamo").config.recompile_limit = PROGRAMS
    return {**environment, "transformers": imported("transformers").__version__}


def prepare(case: DecodeCase) -> Ready:
    """Makes a generation ready to be sampled, `GPT2LMHeadModel.generate` with all its defaults for greedy decoding.

    Raises:
      LeftOut: there are fewer cores than threads, or the model cannot be compiled here.
    """
    torch, cores = imported("torch"), len(os.sched_getaffinity(0))
    if case.threads > cores:
        raise LeftOut(f"{case.threads} threads want as many cores, and the process may use {cores}")
    generated = _generation(torch, case)

    def call() -> Any:
        torch.set_num_threads(case.threads)
        return generated()

    try:
        tokens = call()[:, case.tokens :].tolist()
    except imported("torch._dynamo.exc").TorchDynamoException as error:
        raise LeftOut(
            f"torch.compile failed ({str(error).strip().splitlines()[0]}); it needs a C++ compiler"
        ) from error
    sample = per_step(timed(call, at_least=SAMPLE_SECONDS), case.new_tokens)
    return Ready(sample, tokens, {"devices": 1, "threads": case.threads, "compiled": case.compiled})


def _generation(torch: Any, case: DecodeCase) -> Callable[[], Any]:
    """Returns what continues the prompts and returns them with the new tokens, int64 [B, P + M]."""
    module = imported("transformers")
    config = module.GPT2Config(
        vocab_size=case.vocabulary,
        n_positions=case.tokens + case.new_tokens,
        n_embd=case.width,
        n_layer=case.layers,
        n_head=case.heads,
        activation_function="gelu_new",
        layer_norm_epsilon=EPSILON,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = module.GPT2LMHeadModel(config).eval()
    # The head is tied to the embedding and has no weight of its own.
    named = {path: torch.from_numpy(array) for path, array in published(weights(case), case.layers).items()}
    model.load_state_dict({**named, "lm_head.weight": named["transformer.wte.weight"]})
    ids = torch.from_numpy(prompts(case)).long()
    arguments: dict[str, Any] = {"do_sample": False, "max_new_tokens": case.new_tokens, "pad_token_id": 0}
    if case.compiled:
        # Without this, generate compiles on accelerators alone.
        compiling = module.CompileConfig(mode="default", fullgraph=False)
        compiling._compile_all_devices = True
        arguments |= {"cache_implementation": "static", "compile_config": compiling}

    def generated() -> Any:
        with torch.inference_mode():
            return model.generate(ids, attention_mask=torch.ones_like(ids), **arguments)

    return generated


def published(weights: dict[str, np.ndarray], layers: int) -> dict[str, np.ndarray]:
    """Returns the weights by the names and in the layout of GPT-2: matrices [in, out], query, key and value as one."""
    norms = {"norm": "ln_f"} | {
        f"block_{layer}/{half}_norm": f"h.{layer}.{name}"
        for layer in range(layers)
        for half, name in (("attention", "ln_1"), ("feed_forward", "ln_2"))
    }
    found = {"wte.weight": weights["token/embedding"], "wpe.weight": weights["position/embedding"]}
    for ours, theirs in norms.items():
        found[f"{theirs}.weight"], found[f"{theirs}.bias"] = weights[f"{ours}/scale"], weights[f"{ours}/bias"]
    for layer in range(layers):
        ours, theirs = f"block_{layer}", f"h.{layer}"
        into, width = [f"{ours}/attention/{name}" for name in ("query", "key", "value")], len(found["wte.weight"][0])
        found[f"{theirs}.attn.c_attn.weight"] = np.concatenate(
            [weights[f"{name}/kernel"].reshape(width, -1) for name in into], axis=1
        )
        found[f"{theirs}.attn.c_attn.bias"] = np.concatenate([weights[f"{name}/bias"].ravel() for name in into])
        found[f"{theirs}.attn.c_proj.weight"] = weights[f"{ours}/attention/out/kernel"].reshape(-1, width)
        found[f"{theirs}.attn.c_proj.bias"] = weights[f"{ours}/attention/out/bias"]
        for name, called in (("hidden", "c_fc"), ("out", "c_proj")):
            found[f"{theirs}.mlp.{called}.weight"] = weights[f"{ours}/feed_forward/{name}/kernel"]
            found[f"{theirs}.mlp.{called}.bias"] = weights[f"{ours}/feed_forward/{name}/bias"]
    return {f"transformer.{path}": array for path, array in found.items()}
