"""The network applied to a subset: outputs for all items, or for the first batches.

Belongs here: from items to outputs. Does not belong here: what outputs mean (``targets``), tables.
"""

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Generator, Tensor

from assay.training.augmentation import augment
from assay.training.engine import forward
from assay.training.inputs import as_batch
from assay.training.model_file import LoadedModel


@torch.no_grad()
def network_outputs(
    model: LoadedModel, items: Tensor, batch_size: int, steps: int | None, copies: int, seed: int
) -> Tensor:
    """Return the network's answers, in the items' order.

    Args:
        model: Left as it is.
        items: (n, ...) as ``load_inputs`` gives them.
        batch_size: Items at once.
        steps: Exactly so many batches, or as many as there are; None for all.
        copies: Randomly changed copies whose answers are averaged with the item's own.
        seed: Of the changes.

    Returns:
        float64 (m, outputs): probabilities of the classes, or the standardized number.
    """
    generator = Generator().manual_seed(seed)
    batches: Iterator[Tensor] = islice(iter(torch.split(items, batch_size)), steps)
    return torch.cat([_averaged(model, batch, copies, generator) for batch in batches])


def _averaged(model: LoadedModel, items: Tensor, copies: int, generator: Generator) -> Tensor:
    section, inputs = model.card.section, model.card.inputs
    bf16 = section.train_params.precision == "bf16"
    plain = as_batch(inputs, items)
    total = _answers(model, plain, bf16)
    for _ in range(copies):
        total += _answers(model, augment(plain, inputs, section.data_train.augmentation, generator), bf16)
    return total / (1 + copies)


def _answers(model: LoadedModel, batch: Tensor, bf16: bool) -> Tensor:
    return model.card.flat_target.answers(forward(model.network, batch, bf16))
