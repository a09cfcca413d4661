"""The inputs that the network was trained on: the first samples of some epochs, as contact sheets or table rows.

A batch follows from the seed and the number of its step, so it is made again after the training. Does not belong here:
making batches (``sampler``), drawing (``assay.plots.training``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from assay.plots.training import as_images, save_samples, with_boxes, with_masks, with_targets
from assay.storage.parquet import write_parquet
from assay.training.distributed import WorkerGroup
from assay.training.image_targets import BoxTarget, MaskTarget
from assay.training.inputs import Inputs
from assay.training.interfaces import NO_OBJECT, TrainingTask
from assay.training.model_card import ModelCard, require_item_target
from assay.training.sampler import Sampler
from assay.training.targets import ItemTarget, NumberTarget


@dataclass(frozen=True)
class Samples:
    """The first samples of a batch.

    Attributes:
        values: (n, ...) as the network gets them, in main memory.
        targets: Target of each: (), (k,), (2, H, W) or (M, 5).
    """

    values: Tensor
    targets: Sequence[Tensor]


def write_net_data(training_task: TrainingTask, card: ModelCard, epochs: int, folder: Path) -> None:
    """Write ``epoch_0001.png``, or ``.parquet`` for rows that are not pixels, of some epochs into a folder.

    Args:
        training_task: What was trained.
        card: Inputs and target.
        epochs: Number of epochs that were trained.
        folder: Created if there is anything to write.
    """
    spec = training_task.section.net_data
    sampler = Sampler(training_task, WorkerGroup(size=training_task.section.train_params.processes))
    for epoch in shown_epochs(epochs, spec.shown_epochs) if spec.samples else ():
        samples = first_samples(sampler, epoch, spec.samples)
        name = folder / f"epoch_{epoch:04d}"
        if card.inputs.is_picture:
            _save_sheet(samples, card, name.with_suffix(".png"))
        else:
            write_parquet(as_rows(samples, card.inputs, require_item_target(card.target)), name.with_suffix(".parquet"))


def shown_epochs(epochs: int, most: int) -> list[int]:
    """Return at most ``most`` epochs, evenly spread from the first to the last."""
    return sorted({round(epoch) for epoch in np.linspace(1, epochs, min(most, epochs)).tolist()})


def first_samples(sampler: Sampler, epoch: int, count: int) -> Samples:
    """Return the first samples, at most ``count``, of an epoch's first batch, over all worker processes."""
    values: list[Tensor] = []
    targets: list[Tensor] = []
    parts = sampler.all_parts((epoch - 1) * sampler.steps)
    for inputs, part_targets in takewhile(lambda _: len(values) < count, parts):
        values.extend(inputs.float().cpu())
        targets.extend(part_targets.cpu())
    return Samples(torch.stack(values[:count]), targets[:count])


def as_rows(samples: Samples, inputs: Inputs, target: ItemTarget) -> pl.DataFrame:
    """Return samples as a table: the inputs as the network gets them, and the decoded target."""
    table = pl.DataFrame(samples.values.numpy(), schema=distinct(inputs.input_names))
    return table.with_columns(pl.Series(target.column, decoded_targets(samples.targets, target)))


def distinct(names: Sequence[str]) -> list[str]:
    """Return names of which no two are equal, as those of a column and of a level of another may be."""
    seen: dict[str, None] = {}
    for name in names:
        while name in seen:
            name += "_"
        seen[name] = None
    return list(seen)


def decoded_targets(targets: Sequence[Tensor], target: ItemTarget) -> list[Any]:
    """Return the target of each sample: a class, a list of classes or a number in the column's unit."""
    encoded = torch.stack(list(targets))
    return target.decode(encoded).tolist() if isinstance(target, NumberTarget) else list(target.decode(encoded))


def _save_sheet(samples: Samples, card: ModelCard, path: Path) -> None:
    inputs, target, values = card.inputs, card.target, samples.values
    images = as_images(
        (values.reshape(-1, 1, *inputs.grid) if inputs.grid != (0, 0) else values).numpy(), inputs.standardize
    )
    if isinstance(target, MaskTarget):
        labelled = with_masks(images, [each[0].numpy() for each in samples.targets], target.classes)
    elif isinstance(target, BoxTarget):
        labelled = with_boxes(
            images, [each[each[:, 0] != NO_OBJECT].tolist() for each in samples.targets], target.classes
        )
    else:
        labelled = with_targets(images, decoded_targets(samples.targets, target))
    save_samples(labelled, inputs.standardize, path)
