"""Boosted trees as a network of plain tensors, so that they are stored, applied and exported as every network is.

Belongs here: applying trees. Does not belong here: how they are grown (``assay.training.fitted_models``).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from assay.spec.models import GradientBoostingModel


class Trees(nn.Module):
    """The sum of some trees per output.

    All nodes of all trees are rows of the same tensors; a leaf leads to itself. A row goes left at a node where its
    value is at most the threshold, or, where the node divides categories, where the members say so for its code.

    Tensors, for N nodes, T trees, M nodes that divide categories of at most C codes, and O outputs:
        feature, members_of: int64 (N,); threshold, value: float32 (N,); ways: int64 (2N,), right and left of each
        node; roots: int64 (T,), tree by tree, the outputs within; members: bool (M, C), the last code for all higher
        ones; members_of is -1 for numbers; baseline: float32 (O,); depth: int64 (), the most steps from root to leaf.
    """

    feature: Tensor
    ways: Tensor
    members_of: Tensor
    threshold: Tensor
    value: Tensor
    roots: Tensor
    members: Tensor
    baseline: Tensor
    depth: Tensor

    def __init__(self, output_count: int) -> None:
        super().__init__()
        self.output_count = output_count
        self.levels = 0
        for name, value in no_trees(output_count).items():
            if name in PARAMETERS:
                self.register_parameter(name, nn.Parameter(value, requires_grad=False))
            else:
                self.register_buffer(name, value)

    def forward(self, batch: Tensor) -> Tensor:
        """Map rows (B, inputs) to outputs (B, O); where two classes have one output, that of the first is 0."""
        numbers = batch.nan_to_num()
        places = (torch.zeros_like(batch[:, :1], dtype=torch.int64) + self.roots).reshape(-1)  # (B·T,)
        first = torch.arange(batch.shape[0], device=batch.device)[:, None] * batch.shape[1]
        first = (first + torch.zeros_like(self.roots)).reshape(-1)
        for _ in range(self.levels):
            value = numbers.reshape(-1).index_select(0, first + self.feature.index_select(0, places))
            goes_left = value <= self.threshold.index_select(0, places)
            if len(self.members):
                goes_left = self._by_category(places, value, goes_left)
            places = self.ways.index_select(0, 2 * places + goes_left)
        trees = self.value.index_select(0, places).double().reshape(batch.shape[0], -1, len(self.baseline))
        outputs = (trees.sum(1) + self.baseline).to(batch.dtype)
        outputs = torch.where(batch.isnan().any(1, keepdim=True), torch.nan, outputs)  # an unknown category
        return torch.cat([torch.zeros_like(outputs), outputs], 1) if outputs.shape[1] < self.output_count else outputs

    def _by_category(self, places: Tensor, value: Tensor, otherwise: Tensor) -> Tensor:
        row, codes = self.members_of.index_select(0, places), self.members.shape[1]
        code = value.clamp(0, codes - 1).long()
        is_member = self.members.reshape(-1).index_select(0, row.clamp(min=0) * codes + code)
        return (is_member & (row >= 0)) | (otherwise & (row < 0))  # onnxruntime chooses no truth values by Where

    def set_trees(self, tensors: Mapping[str, Tensor]) -> None:
        """Take other trees, of any number and size."""
        for name in TENSORS:
            value = tensors[name]
            setattr(self, name, nn.Parameter(value, requires_grad=False) if name in PARAMETERS else value)
        self.levels = int(tensors["depth"])

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any) -> None:
        if all(f"{prefix}{name}" in state_dict for name in TENSORS):
            self.set_trees({name: state_dict[f"{prefix}{name}"].clone() for name in TENSORS})
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def no_trees(output_count: int) -> dict[str, Tensor]:
    """Return the tensors of a model without any tree."""
    whole = {name: torch.zeros(0, dtype=torch.int64) for name in ("feature", "ways", "members_of", "roots")}
    return {
        **whole,
        "threshold": torch.zeros(0),
        "value": torch.zeros(0),
        "members": torch.zeros(0, 1, dtype=torch.bool),
        "baseline": torch.zeros(output_count),
        "depth": torch.zeros((), dtype=torch.int64),
    }


TENSORS = tuple(no_trees(1))

PARAMETERS = ("threshold", "value", "baseline")
"""Those that are counted as the model's parameters."""


def build_trees(section: GradientBoostingModel, input_shape: tuple[int, ...], output_count: int) -> Trees:
    """Return a model without any tree yet."""
    return Trees(output_count)
