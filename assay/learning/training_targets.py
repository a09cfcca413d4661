"""What a model was taught: the targets of its training items, which every baseline knows."""

from pathlib import Path

import polars as pl

from assay.learning.source import DataSource, read_subsets
from assay.learning.targets import NumberTarget
from assay.learning.trained_model import CHOSEN
from assay.learning.weights import read_card


def training_targets(model_folder: Path, source: DataSource) -> tuple[pl.Series, tuple[str, ...]]:
    """Return the target of each training item, and the classes in the model's order.

    Args:
        model_folder: Result of the stage ``trained_model``.
        source: What the model learned from.

    Returns:
        Numbers in the target's unit and no classes, or class names, or lists of them, and all classes.
    """
    card = read_card(model_folder / CHOSEN)
    subset = card.section.data_train.subset
    target = card.flat_target
    rows = read_subsets(source, [subset], target.column)[subset]
    return target.truth(rows), () if isinstance(target, NumberTarget) else target.classes
