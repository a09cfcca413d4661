"""The network alone as a program of torch that needs no code of Assay: for batches of any size."""

import logging
import warnings
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from assay.errors import DataError
from assay.inference.model import Model
from assay.training.models.backbone import STRIDE


def network_program(model: Model) -> ExportedProgram:
    """Return the network of a model as a program, float32 in and out.

    Raises:
        DataError: It can't be exported, as may be with one of an installed package.
    """
    batch, sizes = example_batch(model)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, of what it does within itself
            return torch.export.export(model.loaded.network, (batch,), dynamic_shapes=(sizes,), strict=False)
    except Exception as error:  # whatever the network's own code raises
        section = model.stored.card.section.model
        raise DataError(
            f"{model.stored.name}: the network of kind {section.kind if section else 'unknown'!r} can't be exported: "
            f"{str(error).strip().splitlines()[0][:300]}. Export with --format safetensors."
        ) from error


def example_batch(model: Model) -> tuple[torch.Tensor, dict[int, Any]]:
    """Return a batch for the network, and which of its sizes may differ."""
    inputs = model.stored.card.inputs
    if inputs.view != "images":
        return torch.zeros(2, *inputs.item_shape), {0: Dim.DYNAMIC}
    sides = {axis: STRIDE * Dim(name, min=1, max=4096) for axis, name in ((2, "rows"), (3, "columns"))}
    return torch.zeros(2, 3, 4 * STRIDE, 6 * STRIDE), {0: Dim.DYNAMIC, **sides}
