"""Linear layers on the CPU that hold their weights in the order in which oneDNN's matrix product reads them.

torch lays the weights out anew for every product, which costs some 5 % of MiniLM-L-12's time at 2,000 tokens a batch,
and a fifth where a batch has one pair. Its compiler lays them out beforehand with these two operators, which have no
public name; what they do is tested against torch's own layers.
"""

import torch

#: For products of about so many tokens; others are right and as fast, too.
ROWS = 2048


class Prepacked(torch.nn.Module):
    """A Linear layer: (..., inputs) to (..., outputs)."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.weights = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), ROWS)
        self.bias = linear.bias

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(vectors, self.weights, self.bias, "none", [], "")
        return product


def prepacks(dtype: torch.dtype) -> bool:
    """Say whether oneDNN has products of a dtype on this processor, and is there at all."""
    if not torch._C._has_mkldnn:
        return False
    half: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32 or (dtype == torch.bfloat16 and half)


def prepack(module: torch.nn.Module) -> None:
    """Put one in the place of each of a module's Linear layers; their weights are not kept twice."""
    for name, child in module.named_children():
        if type(child) is torch.nn.Linear:
            setattr(module, name, Prepacked(child))
        else:
            prepack(child)
