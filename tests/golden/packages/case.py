"""One case of a published package, written down: its inputs, what it gives, its gradients, and which variant it is."""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

FILES = Path(__file__).resolve().parent.parent / "files"


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Normal float32 numbers."""
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def _argument(name: str, arrays: dict[str, np.ndarray]) -> str:
    """The last part of a name, or the whole where that alone is another array."""
    last = name.rpartition("/")[2]
    return last if last == name or last not in arrays else name.replace("/", "_")


def write(
    name: str,
    *,
    package: str,
    function: str,
    call: Callable[..., torch.Tensor | tuple[torch.Tensor, torch.Tensor]],
    arrays: dict[str, np.ndarray],
    variant: str = "scaled_dot",
    mask: str | None = None,
    position_encoding: str | None = None,
    real: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    still: tuple[str, ...] = (),
    grid: tuple[int, int] | None = None,
    differs: str | None = None,
) -> None:
    """Calls a package in float64 and writes its case to files/NAME.npz.

    Args:
      name: the file's name, of the package and the variant: "entmax_sparsemax".
      package: as pip knows it.
      function: what of the package was called.
      call: takes the arrays as float64 tensors, by the last part of their names ("params/query": as params_query), and
        gives `out`, [B, T, N, Hv], or a pair with the state after the last token, [B, K, J, Hv].
      arrays: "query" [B, T, N, H], "key" [B, S, K, H], "value" [B, S, K, Hv]; "params/NAME", the variant's own
        arrays as the variant has them; "per_token/NAME", what it takes of each token.
      variant: the spec that computes the same.
      mask: as `launch.py explain --mask` takes it.
      position_encoding: a spec.
      real: bool [B, S], the keys that are no padding.
      rows: bool [B, T], the queries whose output counts; None: all.
      still: the arrays that the package gives no gradient of.
      grid: rows and columns.
      differs: why the package gives something else than the paper, that is, than the variant; None: it does not.
    """
    tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    tensors = {key: one.double() if one.is_floating_point() else one for key, one in tensors.items()}
    moved = {key: one.requires_grad_() for key, one in tensors.items() if one.is_floating_point() and key not in still}
    found = call(**{_argument(key, arrays): one for key, one in tensors.items()})
    out, state = found if isinstance(found, tuple) else (found, None)
    if rows is not None:
        out = out * torch.from_numpy(rows)[..., None, None]
    weighing = torch.from_numpy(normal(*out.shape, seed=99)).double()
    (out * weighing).sum().backward()
    gradients = {
        f"gradients/{key}": np.zeros_like(arrays[key]) if one.grad is None else one.grad.numpy()
        for key, one in moved.items()
    }
    said: dict[str, Any] = {
        "package": f"{package} {version(package)}",
        "function": function,
        "variant": variant,
        "mask": mask,
        "position_encoding": position_encoding,
        "grid": grid,
        "differs": differs,
    }
    written = {**arrays, "out": out.detach().numpy(), "weighing": weighing.numpy(), **gradients}
    also = {"real": real, "rows": rows, "state": None if state is None else state.detach().numpy()}
    written |= {key: one for key, one in also.items() if one is not None}
    small = {key: one.astype(np.float32) if one.dtype == np.float64 else one for key, one in written.items()}
    FILES.mkdir(exist_ok=True)
    np.savez_compressed(FILES / f"{name}.npz", said=json.dumps(said), **small)
    print(f"{name}: {(FILES / f'{name}.npz').stat().st_size} bytes")
