"""torch's `nn.LSTM` and `nn.GRU`, two layers in both directions over packed sequences: for layers/recurrent.py."""

import json
from pathlib import Path

import numpy as np
import torch

from tests.golden.packages.case import normal

FILE = Path(__file__).resolve().parent.parent / "layers" / "torch_recurrent.npz"
B, T, D, W, LAYERS = 4, 6, 5, 4, 2
LENGTHS = torch.tensor([6, 1, 3, 5])


def parameters_of(module: torch.nn.RNNBase, *, gradient: bool) -> dict[str, np.ndarray]:
    """The parameters or their gradients as layers/recurrent.py has them: two biases that add up are one."""
    found = {}
    for layer in range(LAYERS):
        for direction, suffix in (("forward", ""), ("backward", "_reverse")):
            of = {}
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                parameter = getattr(module, f"{name}_l{layer}{suffix}")
                of[name] = (parameter.grad if gradient else parameter).detach().numpy()
            path = f"{direction}_{layer + 1}"
            found[f"{path}/input_kernel"] = of["weight_ih"].T
            found[f"{path}/recurrent_kernel"] = of["weight_hh"].T
            added = of["bias_hh"].copy()
            if isinstance(module, torch.nn.GRU):
                found[f"{path}/candidate_bias"] = added[2 * W :].copy()
                added[2 * W :] = 0
            found[f"{path}/input_bias"] = of["bias_ih"] if gradient else of["bias_ih"] + added
    return found


def main() -> None:
    arrays = {}
    for cell, kind in (("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)):
        torch.manual_seed(0)
        module = kind(D, W, num_layers=LAYERS, bidirectional=True, batch_first=True).double()
        inputs = torch.from_numpy(normal(B, T, D)).double()
        packed = torch.nn.utils.rnn.pack_padded_sequence(inputs, LENGTHS, batch_first=True, enforce_sorted=False)
        outputs, after = module(packed)
        outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=T)
        weighing = torch.from_numpy(normal(*outputs.shape, seed=1)).double()
        (outputs * weighing).sum().backward()
        hidden = after[0] if cell == "lstm" else after
        found = {"inputs": inputs, "outputs": outputs.detach(), "hidden": hidden.detach(), "weighing": weighing}
        arrays |= {f"{cell}/{name}": array.numpy().astype(np.float32) for name, array in found.items()}
        arrays[f"{cell}/lengths"] = LENGTHS.numpy().astype(np.int32)
        for folder, gradient in (("params", False), ("gradients", True)):
            of_module = parameters_of(module, gradient=gradient)
            arrays |= {f"{cell}/{folder}/{name}": array.astype(np.float32) for name, array in of_module.items()}
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, said=json.dumps({"package": f"torch {torch.__version__}"}), **arrays)
    print(f"{FILE.name}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
