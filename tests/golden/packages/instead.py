"""What calls a layer of a model on queries, keys and values of one's own: a stand-in for its projections."""

import torch


class Instead(torch.nn.Module):
    """Stands in the place of a projection: gives what it holds, whatever comes in."""

    def __init__(self, array: torch.Tensor):
        super().__init__()
        self.array = array

    def forward(self, *_, **__):
        return self.array.clone()


def flat(array: torch.Tensor) -> torch.Tensor:
    """[B, T, N, H] as a projection gives it, [B, T, N H]."""
    return array.flatten(2)


def given(layer: torch.nn.Module, **instead: torch.Tensor) -> torch.nn.Module:
    """The layer in float64 without dropout, in which these of its projections give these arrays."""
    layer = layer.double().eval()
    for name, array in instead.items():
        setattr(layer, name, Instead(flat(array) if array.ndim == 4 else array))
    return layer


def causal_bias(tokens: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """What models add to logits under a causal mask, [1, 1, T, T]: the lowest number where a key is behind."""
    hidden = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
    return torch.zeros(tokens, tokens, dtype=dtype).masked_fill(hidden, torch.finfo(dtype).min)[None, None]


def no_rotation(tokens: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The cosines and sines of a rotary embedding that turns nothing, [1, T, width]."""
    ones = torch.ones(1, tokens, width, dtype=torch.float64)
    return ones, torch.zeros_like(ones)
