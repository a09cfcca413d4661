"""What the network really saw: the first samples of some epochs, as sheets of pictures or as rows of a table.

Belongs here: which epochs and samples, the files. Does not belong here: making batches (``plan``), drawing
(``assay.plots.net_data``). A batch follows from the seed and the number of its step, so it is made once more after
the training, which knows nothing of it.
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

from assay.plots.net_data import as_images, save_samples, with_boxes, with_masks, with_targets
from assay.storage.parquet import write_parquet
from assay.training.distributed import WorkerGroup
from assay.training.image_targets import BoxTarget, MaskTarget
from assay.training.inputs import Inputs
from assay.training.interfaces import TrainingTask
from assay.training.model_card import ModelCard, require_flat
from assay.training.sampler import Sampler
from assay.training.targets import NumberTarget, Target
from assay.training.tasks.detection.box_coding import NOTHING


@dataclass(frozen=True)
class Samples:
    """The first samples of a batch.

    Attributes:
        values: (n, …) as the network gets them, in main memory.
        targets: Of each; (), (k,), (2, H, W) or (M, 5).
    """

    values: Tensor
    targets: Sequence[Tensor]


def write_net_data(lesson: TrainingTask, card: ModelCard, epochs: int, folder: Path) -> None:
    """Write ``epoch_0001.png``, or ``.parquet`` for rows that are no pixels, of some epochs into a folder.

    Args:
        lesson: What was trained.
        card: How items become tensors, and what is learned.
        epochs: Number of epochs that were trained.
        folder: Made when there is anything to write.
    """
    wanted = lesson.section.net_data
    plan = Sampler(lesson, WorkerGroup(size=lesson.section.train_params.processes))
    for epoch in shown_epochs(epochs, wanted.shown_epochs) if wanted.samples else ():
        samples = first_samples(plan, epoch, wanted.samples)
        name = folder / f"epoch_{epoch:04d}"
        if card.inputs.is_picture:
            _save_sheet(samples, card, name.with_suffix(".png"))
        else:
            write_parquet(as_rows(samples, card.inputs, require_flat(card.target)), name.with_suffix(".parquet"))


def shown_epochs(epochs: int, most: int) -> list[int]:
    """Return at most ``most`` epochs, evenly spread from the first to the last."""
    return sorted({round(epoch) for epoch in np.linspace(1, epochs, min(most, epochs)).tolist()})


def first_samples(plan: Sampler, epoch: int, count: int) -> Samples:
    """Return the first samples, at most ``count``, of an epoch's first batch, whoever trained with them."""
    values: list[Tensor] = []
    targets: list[Tensor] = []
    for inputs, wanted in takewhile(lambda _: len(values) < count, plan.all_parts((epoch - 1) * plan.steps)):
        values.extend(inputs.float().cpu())
        targets.extend(wanted.cpu())
    return Samples(torch.stack(values[:count]), targets[:count])


def as_rows(samples: Samples, inputs: Inputs, target: Target) -> pl.DataFrame:
    """Return samples as a table: the input columns as the network got them, and the target in the user's words."""
    table = pl.DataFrame(samples.values.numpy(), schema=list(inputs.columns))
    return table.with_columns(pl.Series(target.column, answers_of(samples.targets, target)))


def answers_of(targets: Sequence[Tensor], target: Target) -> list[Any]:
    """Return what each sample was to be answered with: a class, a list of classes or a number in the column's unit."""
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
            images, [each[each[:, 0] != NOTHING].tolist() for each in samples.targets], target.classes
        )
    else:
        labelled = with_targets(images, answers_of(samples.targets, target))
    save_samples(labelled, inputs.standardize, path)
