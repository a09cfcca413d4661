"""Small training tasks for tests of the trainer: numbers to learn from rows of numbers."""

import torch

from assay.spec.defaults import with_defaults
from assay.spec.trained_model import Augmentation, TrainedModelSection
from assay.training.inputs import Inputs
from assay.training.interfaces import TrainingTask
from assay.training.losses import number_loss
from assay.training.models.mlp import Mlp
from assay.training.targets import NumberTarget
from assay.training.tasks.item_level import ItemDataset, MeanRunningMetric

COLUMNS = 6
NOISE = Augmentation(noise=0.1)


def rows(count, first=0):
    values = torch.sin(torch.arange(first, first + count * COLUMNS).float()).view(count, COLUMNS)
    return values, values @ torch.linspace(-1, 1, COLUMNS)


def training_task(seed=3, count=37, augmentation=NOISE, **keys):
    """37 items, 10 to validate; three epochs unless ``train_params`` say otherwise."""
    params = {"epochs": 3, "threads": 1, "checkpoint_every_s": 0, **keys.pop("train_params", {})}
    data = {"batch_size": 8, **keys.pop("data_train", {})}
    section = TrainedModelSection.model_validate({"train_params": params, "data_train": data, **keys})
    section = with_defaults(section, "regression", "columns")
    inputs = Inputs(view="columns", columns=tuple(f"c{place}" for place in range(COLUMNS)), standardize=False)
    target = NumberTarget(column="target", mean=0.0, std=1.0)
    loss = number_loss(section.learner)
    return TrainingTask(
        section=section,
        train=ItemDataset(inputs, *rows(count), augmentation),
        validation=ItemDataset(inputs, *rows(10, first=1000)) if section.data_validation else None,
        loss=loss,
        plain_loss=loss,
        running_metric=lambda: MeanRunningMetric(target),
        seed=seed,
    )


def network(dropout=0.2):
    torch.manual_seed(5)
    return Mlp(COLUMNS, 1, width=4, dropout=dropout)
