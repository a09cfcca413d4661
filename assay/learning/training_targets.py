"""What a model was taught: the targets of its training items, which every baseline knows."""

from pathlib import Path

import polars as pl
import torch

from assay.learning.source import DataSource, read_subsets
from assay.learning.targets import NumberTarget, numbers
from assay.learning.trained_model import CHOSEN
from assay.learning.weights import load_model


def training_targets(model_folder: Path, source: DataSource) -> tuple[pl.Series, tuple[str, ...]]:
    """Return the target of each training item, and the classes in the model's order.

    Args:
        model_folder: Result of the stage ``trained_model``.
        source: What the model learned from.

    Returns:
        Numbers in label units and no classes, or class names and all classes.
    """
    card = load_model(model_folder / CHOSEN).card
    subset = card.section.data_train.subset
    rows = read_subsets(source, [subset])[subset]
    target = card.target
    if isinstance(target, NumberTarget):
        values = torch.tensor(numbers(rows, target.column), dtype=torch.float64)
        return pl.Series("target", target.in_label_units(values).numpy()), ()
    return pl.Series("target", target.decode(target.encode(rows))), target.classes
